#!/usr/bin/env bash
# Builds one image, pushes it to ECR and says which it is: infra/build-image.sh <name> <Dockerfile> <platform>
# REGISTRY is the registry's host; CACHE a buildx cache (`type=gha,scope=...`), if there is one.
set -euo pipefail
name=$1 dockerfile=$2 platform=$3
repository="video-pipeline/$name"
aws ecr describe-repositories --repository-names "$repository" >/dev/null 2>&1 ||
  aws ecr create-repository --repository-name "$repository" --image-scanning-configuration scanOnPush=true >/dev/null
metadata=$(mktemp)
docker buildx build --platform "$platform" --file "$dockerfile" --tag "$REGISTRY/$repository:latest" \
  ${CACHE:+--cache-from "$CACHE" --cache-to "$CACHE,mode=max"} --metadata-file "$metadata" --push . >&2
digest=$(node -p "JSON.parse(fs.readFileSync('$metadata'))['containerimage.digest']")
rm "$metadata"
echo "image=$REGISTRY/$repository@$digest"

#!/usr/bin/env bash
# Builds one image, pushes it to ECR and prints its digest: infra/build-image.sh <repository> <Dockerfile> <platform>
# REGISTRY is the registry's host, AWS_REGION its region. CACHE is an optional buildx cache, `type=gha` for example.
set -euo pipefail
name=$1 dockerfile=$2 platform=$3
repository="video-pipeline/$name"
ecr() { aws ecr "$@" --region "$AWS_REGION" --repository-name "$repository"; }
# The ten newest images stay, for a rollback. Each stage has a repository of its own: pushes for staging must not
# expire what production runs.
keep='{"rules":[{"rulePriority":1,"selection":{"tagStatus":"any","countType":"imageCountMoreThan","countNumber":10},"action":{"type":"expire"}}]}'
if ! aws ecr describe-repositories --region "$AWS_REGION" --repository-names "$repository" >/dev/null 2>&1; then
  ecr create-repository --image-scanning-configuration scanOnPush=true >/dev/null
  ecr put-lifecycle-policy --lifecycle-policy-text "$keep" >/dev/null
fi
metadata=$(mktemp)
# One manifest in Docker's own format: SageMaker accepts no OCI index, which buildx writes for attestations.
docker buildx build --platform "$platform" --file "$dockerfile" --tag "$REGISTRY/$repository:latest" \
  --provenance=false --output type=image,push=true,oci-mediatypes=false \
  ${CACHE:+--cache-from "$CACHE,scope=$name" --cache-to "$CACHE,scope=$name,mode=max"} --metadata-file "$metadata" . >&2
digest=$(node -p "JSON.parse(fs.readFileSync('$metadata'))['containerimage.digest']")
rm "$metadata"
echo "image=$REGISTRY/$repository@$digest"

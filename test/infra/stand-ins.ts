import { chmod, cp, mkdir, mkdtemp, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOT } from './offline/platform.ts';

/** Stand-ins for aws, docker, sst and kubectl: each records its call, and prints what the test needs. */
const STAND_IN = `#!/bin/sh
name=\${0##*/}
echo "$name $*\${MODEL_IMAGE:+ MODEL_IMAGE=$MODEL_IMAGE}\${MODEL_CANARY:+ MODEL_CANARY=$MODEL_CANARY $INFERENCE_CANARY_MODE $INFERENCE_CANARY_SHARE}" >> "$CALLS"
echo "$name $AWS_REGION $AWS_DEFAULT_REGION" >> "$CALLS.regions"
# One line for each call, with any characters.
IFS='\x1f'; words="$name\x1f\${*:+$*\x1f}"; unset IFS
case "$words" in *'
'*) words=$(printf %s "$words" | tr '\\n' ' ') ;; esac
printf '%s\\n' "$words" >> "$CALLS.words"
case "$name $*" in
  "aws sts"*) test -z "$NO_AWS" && echo 123456789012 ;;
  "aws ecr get-authorization-token"*)
    case "$AWS_REGION" in cn-*) domain=amazonaws.com.cn ;; *) domain=amazonaws.com ;; esac
    test -z "$NO_AWS" && echo '{"authorizationData":[{"authorizationToken":"'$(printf AWS:pass-of-the-registry | base64)'",
      "proxyEndpoint":"https://123456789012.dkr.ecr.'$AWS_REGION.$domain'"}]}' ;;
  "aws ecr describe-repositories"*) test -n "$HAS_REPOSITORIES" ;;
  "aws service-quotas list-service-quotas"*)
    test -n "$NO_VALUES" && echo '{"Quotas":[]}' || echo '{"Quotas":[{"Value":'\${QUOTA:-1000}'}]}' ;;
  "aws ec2 describe-addresses"*) echo '{"Addresses":[{"Tags":[{"Key":"stage","Value":"production"}]},{}]}' ;;
  "aws ec2 describe-vpcs"*) echo '{"Vpcs":[{}]}' ;;
  "aws ec2 describe-availability-zones"*)
    for zone in \${ZONES:-zone-4=d use1-az3=b zone-1=a zone-3=c}; do
      echo '{"ZoneId":"'\${zone%=*}'","ZoneName":"'$AWS_REGION\${zone#*=}'"}'
    done | paste -sd, | sed 's/.*/{"AvailabilityZones":[&]}/' ;;
  "aws ec2 describe-images"*) echo '{"Images":['\${NO_NAT:-'{"ImageId":"ami-0"}'}']}' | sed s/none// ;;
  "aws ec2 describe-instance-type-offerings"*)
    case "$*" in *"Values=\${GPU_ZONES:-$AWS_REGION}"*) echo '{"InstanceTypeOfferings":[{"InstanceType":"g6.xlarge"}]}' ;;
      *) echo '{"InstanceTypeOfferings":[]}' ;; esac ;;
  "aws kafka list-kafka-versions"*) echo "[\${KAFKA_VERSIONS-\\"3.8.x\\",\\"3.9.x.kraft\\"}]" ;;
  "aws eks describe-addon-versions"*)
    echo '{"addons":[{"addonVersions":[{"addonVersion": "'\${INSIGHTS:-v6.3.0-eksbuild.1}'"}]}]}' ;;
  "aws logs describe-log-groups"*)
    case "$*" in *"/aws/eks/"*) echo '['\${LEFT_GROUP:+'"'$LEFT_GROUP'"'}']' ;; *) echo '[]' ;; esac ;;
  "aws lambda get-account-settings"*)
    limit=\${CONCURRENCY:-1000}
    echo '{"AccountLimit":{"ConcurrentExecutions":'$limit',"UnreservedConcurrentExecutions":'$((limit - \${RESERVED:-72}))'}}' ;;
  # With all fields, a thousand functions are more than a megabyte.
  "aws lambda list-functions"*)
    case "$*" in *"--query Functions[].FunctionName"*) echo '["another"]' ;; *) printf '{"Functions":[%2000000s]}' ;; esac ;;
  "aws s3api list-objects-v2"*) echo "\${STOPPED:+config/canary-stopped.json}" ;;
  "aws s3 cp s3://store/config/canary-stopped.json -"*) echo '{"alarm":"Alarm-CanaryErrors","reason":"0.5 over 0.05"}' ;;
  "aws cloudwatch get-metric-statistics"*) test -z "$NO_METRICS" && echo "[\${FRAMES:-1200}]" ;;
  "docker login"*) cat > /dev/null ;;
  "docker buildx"*)
    while [ "$1" != --metadata-file ]; do shift; done
    echo '{"containerimage.digest":"sha256:abc"}' > "$2" ;;
  "npx sst"*) mkdir -p .sst; echo "scripts: $npm_config_ignore_scripts" >> .sst/npm; test -z "$NO_CANARY" || test -z "$MODEL_CANARY" ;;
  "aws cognito-idp list-user-pools"*) echo us-east-1_pool ;;
  "curl "*) echo 203.0.113.7 ;;
  "sudo "*) exec "$@" ;;
esac
`;

const COMMANDS = ['aws', 'docker', 'npx', 'kubectl', 'sudo', 'curl', 'gh', 'jq'];

/**
 * The app in a folder of its own, as just after cloning and `npm install`, with stand-ins in `bin/`, since a deploy stores
 * its results beside it.
 */
export async function createSandbox(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'deploy-'));
  await cp(join(ROOT, 'infra'), join(dir, 'infra'), { recursive: true });
  for (const name of ['node_modules', 'packages', 'functions', 'ingest-host', 'package.json', 'docs'])
    await symlink(join(ROOT, name), join(dir, name));
  await mkdir(join(dir, 'bin'));
  for (const name of COMMANDS) {
    await writeFile(join(dir, 'bin', name), STAND_IN);
    await chmod(join(dir, 'bin', name), 0o755);
  }
  return dir;
}

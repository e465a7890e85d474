import { camerasOf } from './cameras.ts';
import { deployCidrs, REFUSED_ZONES } from './network.ts';
import { type Quota, quotasOf } from './quotas.ts';
import { gpuTypes } from './scaling.ts';
import type { Stage } from './stages.ts';
import { INSIGHTS, KUBERNETES_VERSION, kafkaVersionOf } from './versions.ts';

/** Asks the AWS command line. @returns its answer, JSON */
type Ask = (...args: string[]) => string;

interface Tagged {
  Tags?: { Key: string; Value: string }[];
}

/**
 * What is in use already, for the quotas where AWS reports it: by the whole account, and by this stage. `limit` is the
 * quota itself, where its service knows it better than Service Quotas.
 */
type Held = Record<string, (ask: Ask) => { all: number; own: number; limit?: number }>;

/** Publisher and names of the images of NAT instances, as SST selects them. */
const NAT_IMAGES = { owner: '568608671756', name: 'fck-nat-al2023-*' };

/**
 * Checks by Service Quotas whether the stage fits into the account, beside what is in use already. Prints the result.
 * @throws Error with the quotas to request
 */
export function check(stage: Stage, region: string, ask: Ask): void {
  const cameras = camerasOf(stage);
  deployCidrs(stage);
  ask('sts', 'get-caller-identity');
  const held = heldBy(stage.name);
  const count = Math.max(1, cameras.length + Number(stage.ingest.testCamera));
  const rows = quotasOf(stage, count, cameras).map((quota) => {
    const { all, own, limit } = held[quota.name]?.(ask) ?? { all: 0, own: 0 };
    const others = all - own;
    const wants = others + quota.need + (quota.besides ?? 0);
    return { ...quota, others, has: limit ?? quotaOf(quota, ask), wants };
  });
  console.log(`${stage.name} in ${region}: what it needs of the account's quotas`);
  for (const { name, need, others, besides = 0, has, wants } of rows) {
    const verdict = wants <= has ? 'fits' : `too small, request ${wants}`;
    const kept = besides ? ` and ${besides} that AWS keeps` : '';
    console.log(`  ${name.padEnd(40)}${need} beside ${others} in use${kept}, of ${has}: ${verdict}`);
  }
  const short = rows.filter(({ wants, has }) => wants > has);
  for (const { service, code, wants, usual } of short) {
    // A new account may have less than AWS's default, and can't request less than that.
    const desired = Math.max(wants, usual);
    console.log(
      `aws service-quotas request-service-quota-increase --region ${region} --service-code ${service} --quota-code ${code} --desired-value ${desired}`,
    );
  }
  const tooSmall = short.map(({ name, wants, has }) => `${name}: ${wants} needed, ${has} there`);
  const problems = [...problemsOf(stage, region, ask), ...tooSmall];
  if (problems.length > 0) throw new Error(problems.join('; '));
}

/** What stops a deploy, whatever the quotas are. */
function* problemsOf(stage: Stage, region: string, ask: Ask): Generator<string> {
  const { name, network, inference } = stage;
  const isEks = inference.backend === 'eks';
  const zones = zonesOf(ask).slice(0, network.zones);
  if (zones.length < network.zones)
    yield `${region} has ${zones.length} zones that EKS accepts, not ${network.zones}: set AWS_REGION`;
  const images = ['--owners', NAT_IMAGES.owner, ...filters({ name: NAT_IMAGES.name, architecture: 'arm64' })];
  if (network.nat === 'ec2' && !ask('ec2', 'describe-images', ...images).includes('"ImageId"'))
    yield `${region} has no image ${NAT_IMAGES.name} for NAT instances: set network.nat to 'managed'`;
  if (isEks) {
    yield* leftProblems(name, region, ask);
    const types = gpuTypes(inference.gpu).join();
    const places = ['availability-zone', ...filters({ 'instance-type': types, location: zones.join() })];
    const offered = ask('ec2', 'describe-instance-type-offerings', '--location-type', ...places);
    if (!offered.includes('"InstanceType"'))
      yield `${zones.join()} have none of ${types}: name other families in infra/stages.ts, or set AWS_REGION`;
  }
  yield* versionProblems(stage, ask);
}

const filters = (values: Record<string, string>) => [
  '--filters',
  ...Object.entries(values).map(([name, value]) => `Name=${name},Values=${value}`),
];

/** The region's zones in the order in which the network takes them. */
function zonesOf(ask: Ask): string[] {
  const usable = filters({ state: 'available', 'opt-in-status': 'opt-in-not-required' });
  const { AvailabilityZones } = JSON.parse(ask('ec2', 'describe-availability-zones', ...usable));
  return (AvailabilityZones as { ZoneId: string; ZoneName: string }[])
    .filter(({ ZoneId }) => !REFUSED_ZONES.includes(ZoneId))
    .map(({ ZoneName }) => ZoneName)
    .sort();
}

/**
 * Log groups that AWS recreated without a retention when a stage of this name was removed. A deploy can't create them.
 * @see https://github.com/terraform-aws-modules/terraform-aws-eks/issues/2763
 */
function* leftProblems(stage: string, region: string, ask: Ask): Generator<string> {
  for (const writer of ['eks', 'containerinsights']) {
    const prefix = ['--log-group-name-prefix', `/aws/${writer}/video-pipeline-${stage}/`];
    const kept = ['--query', 'logGroups[?!retentionInDays].logGroupName'];
    for (const group of JSON.parse(ask('logs', 'describe-log-groups', ...prefix, ...kept))) {
      console.log(`aws logs delete-log-group --region ${region} --log-group-name ${group}`);
      yield `the log group ${group} is left over from a removed stage, and has to be deleted first`;
    }
  }
}

/** Versions that AWS offers no longer. */
function* versionProblems({ kafka, inference }: Stage, ask: Ask): Generator<string> {
  const version = kafkaVersionOf(kafka);
  const offered = ['list-kafka-versions', '--query', "KafkaVersions[?Status=='ACTIVE'].Version"];
  if (!JSON.parse(ask('kafka', ...offered)).includes(version))
    yield `MSK does not offer Kafka ${version}: name another one in infra/versions.ts`;
  if (inference.backend !== 'eks') return;
  const { addonName, addonVersion } = INSIGHTS;
  const wanted = ['--kubernetes-version', KUBERNETES_VERSION, '--addon-name', addonName];
  // If EKS has no add-on for a version of Kubernetes, it does not offer that version either.
  if (!ask('eks', 'describe-addon-versions', ...wanted).includes(`"${addonVersion}"`))
    yield `EKS has no ${addonName} ${addonVersion} for Kubernetes ${KUBERNETES_VERSION} (infra/versions.ts)`;
}

function quotaOf({ service, code, usual }: Quota, ask: Ask): number {
  // A list: the call for a single quota fails if the account has only AWS's default.
  const one = ['--service-code', service, '--quota-code', code];
  return JSON.parse(ask('service-quotas', 'list-service-quotas', ...one)).Quotas[0]?.Value ?? usual;
}

function heldBy(stage: string): Held {
  const isOwn = ({ Tags = [] }: Tagged) => Tags.some(({ Key, Value }) => Key === 'stage' && Value === stage);
  const count = (list: Tagged[]) => ({ all: list.length, own: list.filter(isOwn).length });
  return {
    'EC2-VPC Elastic IPs': (ask) => count(JSON.parse(ask('ec2', 'describe-addresses')).Addresses),
    'VPCs per Region': (ask) => count(JSON.parse(ask('ec2', 'describe-vpcs')).Vpcs),
    'Concurrent executions': (ask) => {
      const { AccountLimit } = JSON.parse(ask('lambda', 'get-account-settings'));
      const all = AccountLimit.ConcurrentExecutions - AccountLimit.UnreservedConcurrentExecutions;
      // Only the names: all details of hundreds of functions are more than a command's output may have.
      const names: string[] = JSON.parse(
        ask('lambda', 'list-functions', '--query', 'Functions[].FunctionName'),
      );
      const own = names.filter((name) => name.startsWith(`video-pipeline-${stage}-`));
      const limit = AccountLimit.ConcurrentExecutions;
      return { all, own: own.length === 0 ? 0 : reservedBy(own, ask), limit };
    },
  };
}

function reservedBy(functions: string[], ask: Ask): number {
  const reserved = functions.map((name) => {
    const answer = ask('lambda', 'get-function-concurrency', '--function-name', name);
    return JSON.parse(answer || '{}').ReservedConcurrentExecutions ?? 0;
  });
  return reserved.reduce((sum, one) => sum + one, 0);
}

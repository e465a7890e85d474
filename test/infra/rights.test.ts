import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { stageOf } from '../../infra/stages.ts';
import { callsOf, MAKING, withRealIds } from './calls.ts';
import { DEPLOYED, graphOf, ofType } from './graphs.ts';
import type { Graph, Resource } from './offline/evaluate.ts';
import { ROOT } from './offline/platform.ts';
import { actionOf, BESIDE, POLICIES, policyOf, RIGHTS, serviceOf } from './rights.ts';

let resources: (Resource & { id: string })[];
let passedTo: string[];
beforeAll(async () => {
  const graphs: Graph[] = [];
  for (const deployed of DEPLOYED) graphs.push(await graphOf(deployed));
  resources = graphs.flatMap(withRealIds);
  const roles = graphs.flatMap((graph) => ofType(graph, 'aws:iam/role:Role'));
  const trusted = roles.flatMap(({ inputs }) =>
    [JSON.parse(textOf(inputs.assumeRolePolicy)).Statement]
      .flat()
      .flatMap(({ Principal }) => Principal.Service ?? []),
  );
  passedTo = [...new Set<string>(trusted)].sort();
});
const textOf = (document: unknown) => (typeof document === 'string' ? document : JSON.stringify(document));

/** Actions that making a resource needs, and that the table does not give for its type. */
function missing(resource: Resource & { id: string }): string[] {
  const given = RIGHTS[resource.type]?.split(' ') ?? [];
  const needed = callsOf(resource).map(([api, operation]) => actionOf(api, operation));
  return needed.filter((action) => !given.includes(action)).map((action) => `${resource.type}: ${action}`);
}

test('each call that creates a resource of a deployment is allowed by docs/iam', () => {
  expect(resources.length).toBeGreaterThan(400);
  expect([...new Set(resources.flatMap(missing))]).toEqual([]);
  expect(Object.keys(RIGHTS).sort()).toEqual(Object.keys(MAKING).sort());
});

test('a resource whose rights are missing in the table is reported', () => {
  const role = resources.find(({ type }) => type === 'aws:iam/role:Role');
  const other = { ...(role as (typeof resources)[0]), type: 'aws:sns/topic:Topic', inputs: { name: 'x' } };
  const { 'aws:sns/topic:Topic': rights } = RIGHTS;
  delete RIGHTS['aws:sns/topic:Topic'];
  expect(missing(other)).toEqual(['aws:sns/topic:Topic: sns:CreateTopic']);
  RIGHTS['aws:sns/topic:Topic'] = rights as string;
});

test.each(Object.entries(POLICIES))(
  'docs/iam/%s.json equals the computed policy (UPDATE_README=1 writes it)',
  (name, services) => {
    const file = join(ROOT, `docs/iam/${name}.json`);
    const made = policyOf(services, passedTo);
    if (process.env.UPDATE_README) writeFileSync(file, `${JSON.stringify(made, null, 2)}\n`);
    const read = JSON.parse(readFileSync(file, 'utf8'));
    expect(read).toEqual(made);
    // IAM's limit for a managed policy, without white space.
    expect(JSON.stringify(read).length).toBeLessThanOrEqual(6_144);
  },
);

test('KMS keys may be used only by MSK, and an instance profile that EKS left may be removed', () => {
  const { Statement } = JSON.parse(readFileSync(join(ROOT, 'docs/iam/deploy-roles.json'), 'utf8'));
  const allowing = (form: RegExp) =>
    Statement.filter(({ Action }: any) => Action.some((one: string) => form.test(one)));
  const viaKafka = { StringLike: { 'kms:ViaService': 'kafka.*.amazonaws.com' } };
  expect(allowing(/^kms:/)).toEqual([
    { Effect: 'Allow', Action: ['kms:CreateGrant', 'kms:DescribeKey'], Resource: ['*'], Condition: viaKafka },
  ]);
  const taken = allowing(/^iam:RemoveRoleFromInstanceProfile$/).flatMap(({ Resource }: any) => Resource);
  expect(taken).toContain('arn:aws:iam::*:instance-profile/eks-*');
  // Nothing else may be done to it.
  const others = allowing(/^iam:(?!Remove)/).flatMap(({ Resource }: any) => Resource);
  expect(others.filter((one: string) => one.includes('eks'))).toEqual([]);
});

test('actions that change clusters, services and topics are not allowed on all resources', () => {
  const statements = Object.keys(POLICIES).flatMap(
    (name) => JSON.parse(readFileSync(join(ROOT, `docs/iam/${name}.json`), 'utf8')).Statement,
  );
  const everywhere = statements
    .filter(({ Resource }) => Resource.includes('*'))
    .flatMap(({ Action }) => Action)
    .filter((action: string) => /^(ecs|eks|kafka|kafka-cluster|sns):/.test(action));
  const harmless =
    /:(Create(CapacityProvider|Cluster|Configuration)$|Describe|List|Get|Register|Deregister|Unsubscribe$|SetSubscription)/;
  expect(everywhere.filter((action: string) => !harmless.test(action))).toEqual([]);
  const all = statements.flatMap(({ Action }) => Action);
  for (const action of ['eks:DeleteCluster', 'ecs:UpdateService', 'kafka:DeleteCluster', 'sns:DeleteTopic'])
    expect(all).toContain(action);
});

// Calls of AWS's provider, and of AWS itself with the caller's rights, that no field of a resource shows.
test.each([
  // They stay for a while, and hold security groups.
  [
    'network interfaces of removed functions may be deleted',
    'network',
    'ec2:DeleteNetworkInterface ec2:DetachNetworkInterface',
  ],
  // By the provider's option forceDestroy.
  [
    'instances of removed tasks may be deregistered',
    'network',
    'servicediscovery:ListInstances servicediscovery:DeregisterInstance',
  ],
  // docs.aws.amazon.com/cloud-map/latest/dg/cloud-map-api-permissions-ref.html
  ['a private DNS namespace may be created', 'network', 'ec2:DescribeVpcs ec2:DescribeRegions'],
  // AWS's own policies for it have this beside what the provider calls: ElasticLoadBalancingFullAccess.
  ['a load balancer may be created', 'network', 'ec2:DescribeAccountAttributes'],
  // docs.aws.amazon.com/autoscaling/application/userguide/security_iam_id-based-policy-examples.html
  ['an endpoint may be scaled', 'compute', 'sagemaker:UpdateEndpointWeightsAndCapacities'],
])('%s', (_, name, needed) => {
  const { Statement } = JSON.parse(readFileSync(join(ROOT, `docs/iam/deploy-${name}.json`), 'utf8'));
  const actions = Statement.flatMap(({ Action }: any) => Action);
  expect(actions).toEqual(expect.arrayContaining(needed.split(' ')));
});

test('each right is in one of the policies', () => {
  const services = [...Object.values(RIGHTS), BESIDE].flatMap((list) => list.split(' ').map(serviceOf));
  expect([...new Set(services)].sort()).toEqual(Object.values(POLICIES).flat().sort());
});

test('resources have the name prefixes that the policies allow', () => {
  const named = (type: string) =>
    resources
      .filter((one) => one.type === type)
      .map(({ name, inputs }) =>
        String(inputs.clusterName ?? inputs.name ?? inputs.namePrefix ?? inputs.bucket ?? name),
      );
  const expectAll = (type: string, form: RegExp) =>
    expect(
      named(type).filter((name) => !form.test(name)),
      type,
    ).toEqual([]);
  expectAll('aws:iam/role:Role', /^video-pipeline-/);
  expectAll('aws:iam/instanceProfile:InstanceProfile', /^video-pipeline-|^Network(Nat|Bastion)/);
  expectAll('aws:lambda/function:Function', /^video-pipeline-/);
  expectAll('aws:s3/bucket:Bucket', /^video-pipeline-/);
  expectAll('aws:ecr/repository:Repository', /^video-pipeline\//);
  expectAll('aws:secretsmanager/secret:Secret', /^video-pipeline\//);
  expectAll('aws:ssm/parameter:Parameter', /^\/sst\//);
  for (const type of ['ecs/cluster:Cluster', 'ecs/capacityProvider:CapacityProvider', 'eks/cluster:Cluster'])
    expectAll(`aws:${type}`, /^video-pipeline-/);
  for (const type of ['msk/cluster:Cluster', 'msk/configuration:Configuration', 'sns/topic:Topic'])
    expectAll(`aws:${type}`, /^video-pipeline-/);
});

test('with the longest stage name, SST does not truncate the prefixes of resource names', () => {
  const isTaken = (length: number) => {
    try {
      return stageOf('x'.repeat(length)) !== undefined;
    } catch {
      return false;
    }
  };
  const longest = Array.from({ length: 64 }, (_, index) => index + 1).findLast(isTaken) ?? 0;
  expect(longest).toBeGreaterThan('production'.length);
  const most = { 'aws:iam/role:Role': 64, 'aws:lambda/function:Function': 64, 'aws:s3/bucket:Bucket': 63 };
  let seen = 0;
  for (const { type, inputs } of resources) {
    const name: string = inputs.name ?? inputs.bucket ?? '';
    const [, own] = /^video-pipeline-[a-z]+-(\w+)-\w{8}$/.exec(name) ?? [];
    if (!own || !(type in most)) continue;
    seen += 1;
    const length = `video-pipeline-${'x'.repeat(longest)}-${own}-12345678`.length;
    // As SST's naming.ts reckons.
    expect(length, name).toBeLessThanOrEqual(most[type as keyof typeof most]);
  }
  expect(seen).toBeGreaterThan(20);
});

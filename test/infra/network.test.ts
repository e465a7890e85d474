import { describe, expect, test } from 'vitest';
import { stageOf } from '../../infra/stages.ts';
import { DEPLOY_CIDR, DEPLOYED, type Deployed, EVALUATIONS, graphOf, ofType, one } from './graphs.ts';
import type { Graph } from './offline/evaluate.ts';

const EGRESS = 'aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule';
const INGRESS = 'aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule';

/** Who may open a connection to whom, on which TCP port; nothing else may. */
const PAIRS: Record<Deployed, string[]> = {
  production: [
    'AnnotateGroup -> S3:443',
    'CompactGroup -> S3:443',
    // Whichever group the load balancer has: the first is that of its annotation, which Auto Mode might ignore.
    'DetectGroup -> InferenceGroup:8000',
    'DetectGroup -> 10.0.0.0/16:8000',
    'DetectGroup -> KafkaGroup:9098',
    'DetectGroup -> S3:443',
    'InferenceClusterClusterSecurityGroup -> EndpointsGroup:443',
    'InferenceClusterClusterSecurityGroup -> KafkaGroup:9098',
    'InferenceGroup -> InferenceClusterClusterSecurityGroup:8000',
    'IngestGroup -> 10.64.0.0/10:554',
    'IngestGroup -> 10.64.0.0/10:8554',
    'IngestGroup -> EndpointsGroup:443',
    'IngestGroup -> KafkaGroup:9098',
    'IngestGroup -> S3:443',
    'KafkaGroup -> EndpointsGroup:443',
    'KafkaGroup -> KafkaGroup:9098',
    'KafkaGroup -> S3:443',
    'NotifyGroup -> EndpointsGroup:443',
    'NotifyGroup -> S3:443',
  ],
  staging: [
    'AnnotateGroup -> S3:443',
    'CompactGroup -> S3:443',
    'DetectGroup -> InferenceGroup:8000',
    'DetectGroup -> 10.0.0.0/16:8000',
    'DetectGroup -> KafkaGroup:9098',
    'DetectGroup -> S3:443',
    'InferenceClusterClusterSecurityGroup -> EndpointsGroup:443',
    'InferenceClusterClusterSecurityGroup -> KafkaGroup:9098',
    'InferenceGroup -> InferenceClusterClusterSecurityGroup:8000',
    'IngestGroup -> EndpointsGroup:443',
    'IngestGroup -> KafkaGroup:9098',
    'IngestGroup -> S3:443',
    'IngestGroup -> TestCameraGroup:8554',
    'KafkaGroup -> EndpointsGroup:443',
    'KafkaGroup -> KafkaGroup:9098',
    'KafkaGroup -> S3:443',
    'NotifyGroup -> EndpointsGroup:443',
    'NotifyGroup -> S3:443',
    'TestCameraGroup -> EndpointsGroup:443',
    'TestCameraGroup -> S3:443',
  ],
  personal: [
    'AnnotateGroup -> S3:443',
    'CompactGroup -> S3:443',
    'DetectGroup -> 0.0.0.0/0:443',
    'DetectGroup -> KafkaGroup:9098',
    'DetectGroup -> S3:443',
    'IngestGroup -> 0.0.0.0/0:443',
    'IngestGroup -> KafkaGroup:9098',
    'IngestGroup -> S3:443',
    'IngestGroup -> TestCameraGroup:8554',
    'KafkaGroup -> 0.0.0.0/0:443',
    'KafkaGroup -> KafkaGroup:9098',
    'KafkaGroup -> S3:443',
    'NetworkNatInstanceSecurityGroup -> KafkaGroup:9098',
    'NotifyGroup -> 0.0.0.0/0:443',
    'NotifyGroup -> S3:443',
    'TestCameraGroup -> 0.0.0.0/0:443',
    'TestCameraGroup -> S3:443',
  ],
  dev: [
    'AnnotateGroup -> S3:443',
    'CompactGroup -> S3:443',
    'DetectGroup -> KafkaGroup:9098',
    'DetectGroup -> S3:443',
    'IngestGroup -> 0.0.0.0/0:443',
    'IngestGroup -> KafkaGroup:9098',
    'IngestGroup -> S3:443',
    'KafkaGroup -> 0.0.0.0/0:443',
    'KafkaGroup -> KafkaGroup:9098',
    'KafkaGroup -> S3:443',
    'NetworkNatInstanceSecurityGroup -> KafkaGroup:9098',
    'NotifyGroup -> 0.0.0.0/0:443',
    'NotifyGroup -> S3:443',
  ],
  hosted: [
    '198.51.100.0/28 -> ConsoleBalancerGroup:443',
    '203.0.113.0/24 -> ConsoleBalancerGroup:443',
    // To the broker and the webhook, wherever they are, and to the secrets for both.
    'AnnotateGroup -> 0.0.0.0/0:8883',
    'AnnotateGroup -> EndpointsGroup:443',
    'AnnotateGroup -> S3:443',
    'CompactGroup -> S3:443',
    'ClipGroup -> S3:443',
    // The load balancer asks Cognito who has signed in.
    'ConsoleBalancerGroup -> 0.0.0.0/0:443',
    'ConsoleBalancerGroup -> ConsoleGroup:8080',
    'ConsoleGroup -> EndpointsGroup:443',
    'ConsoleGroup -> KafkaGroup:9098',
    'ConsoleGroup -> S3:443',
    'DetectGroup -> EndpointsGroup:443',
    'DetectGroup -> KafkaGroup:9098',
    'DetectGroup -> S3:443',
    'IngestGroup -> 10.64.0.0/10:554',
    'IngestGroup -> 10.64.0.0/10:8554',
    'IngestGroup -> KafkaGroup:9098',
    'IngestHostsGroup -> EndpointsGroup:443',
    'IngestHostsGroup -> S3:443',
    'KafkaGroup -> EndpointsGroup:443',
    'KafkaGroup -> KafkaGroup:9098',
    'KafkaGroup -> S3:443',
    // For `sst tunnel`: it reaches the brokers and nothing else.
    'NetworkBastionSecurityGroup -> KafkaGroup:9098',
    'NotifyGroup -> 0.0.0.0/0:443',
    'NotifyGroup -> 0.0.0.0/0:8883',
    'NotifyGroup -> EndpointsGroup:443',
    'NotifyGroup -> S3:443',
  ],
};

/** Groups whose rules are not ours to write: EKS makes its cluster's and lets it out everywhere. */
const MANAGED = ['InferenceClusterClusterSecurityGroup'];

describe.each(DEPLOYED)('the network of %s', (deployed) => {
  test('tags its public and private subnets so that EKS Auto Mode finds them for load balancers', async () => {
    const subnets = ofType(await graphOf(deployed), 'aws:ec2/subnet:Subnet');
    expect(subnets.length).toBeGreaterThanOrEqual(4);
    for (const { name, inputs } of subnets) {
      const role = name.includes('Private') ? 'internal-elb' : 'elb';
      expect(inputs.tags, name).toMatchObject({
        [`kubernetes.io/role/${role}`]: '1',
      });
    }
  });

  test('uses availability zones that EKS accepts, and no Local Zone', async () => {
    const subnets = ofType(await graphOf(deployed), 'aws:ec2/subnet:Subnet');
    const zones = [...new Set(subnets.map(({ inputs }) => inputs.availabilityZone))];
    const { network } = stageOf(EVALUATIONS[deployed].stage);
    expect(zones).toEqual(['us-east-1a', 'us-east-1c', 'us-east-1d'].slice(0, network.zones));
  });

  test('allows traffic only between the listed pairs of security groups', async () => {
    expect(reachable(await graphOf(deployed))).toEqual([...PAIRS[deployed]].sort());
  });

  test('has no ingress rule for 0.0.0.0/0, and egress to it only by HTTPS or to the MQTT broker', async () => {
    const graph = await graphOf(deployed);
    // The console's load balancer alone is reached from outside, and by those addresses alone that the stage names.
    const named = stageOf(EVALUATIONS[deployed].stage).console?.allowedCidrs ?? [];
    const outside = ofType(graph, INGRESS).filter(({ inputs }) => !inputs.referencedSecurityGroupId);
    expect(outside.map(({ inputs }) => inputs.cidrIpv4).sort()).toEqual([...named].sort());
    for (const { inputs } of outside) {
      expect(inputs).toMatchObject({ securityGroupId: 'ConsoleBalancerGroup', fromPort: 443, toPort: 443 });
      expect(inputs.cidrIpv6).toBeUndefined();
    }
    for (const rule of ofType(graph, EGRESS)) {
      if (rule.inputs.cidrIpv4 !== '0.0.0.0/0') continue;
      const port = deployed === 'hosted' && /^(Annotate|Notify)/.test(rule.name) ? [443, 8883] : [443];
      expect(port, rule.name).toContain(rule.inputs.fromPort);
      expect(rule.inputs.toPort, rule.name).toBe(rule.inputs.fromPort);
    }
    for (const type of [
      'aws:ec2/securityGroup:SecurityGroup',
      'aws:ec2/defaultSecurityGroup:DefaultSecurityGroup',
    ]) {
      for (const { name, inputs } of ofType(graph, type)) {
        const from = (inputs.ingress ?? []).flatMap(
          (rule: { cidrBlocks?: string[] }) => rule.cidrBlocks ?? [],
        );
        expect(
          from.filter((cidr: string) => ![DEPLOY_CIDR, '10.0.0.0/16'].includes(cidr)),
          name,
        ).toEqual([]);
      }
    }
  });

  test('runs functions, brokers and tasks in private subnets, with routes to Lambda and STS for the pollers', async () => {
    const graph = await graphOf(deployed);
    const isPrivate = (subnets: string[]) =>
      subnets.every((subnet) => subnet.startsWith('NetworkPrivateSubnet'));
    for (const { inputs } of ofType(graph, 'aws:lambda/function:Function')) {
      if (deployed === 'dev') expect(inputs.vpcConfig).toBeUndefined();
      else expect(isPrivate(inputs.vpcConfig.subnetIds)).toBe(true);
    }
    for (const { inputs } of ofType(graph, 'aws:msk/cluster:Cluster')) {
      expect(isPrivate(inputs.brokerNodeGroupInfo.clientSubnets)).toBe(true);
    }
    const endpoints = ofType(graph, 'aws:ec2/vpcEndpoint:VpcEndpoint').map(
      ({ inputs }) => inputs.serviceName,
    );
    const routes = ofType(graph, 'aws:ec2/routeTable:RouteTable')
      .filter(({ name }) => name.includes('Private'))
      .map(({ inputs }) =>
        inputs.routes.some((route: { cidrBlock: string }) => route.cidrBlock === '0.0.0.0/0'),
      );
    expect(endpoints).toContain('com.amazonaws.us-east-1.s3');
    expect(routes.every(Boolean)).toBe(true);
    if (deployed === 'production' || deployed === 'staging') {
      expect(endpoints).toEqual(
        expect.arrayContaining(['com.amazonaws.us-east-1.lambda', 'com.amazonaws.us-east-1.sts']),
      );
    }
  });
});

/** Rules within a security group of SST's: whom it lets in, or out to where, and on which port. */
async function rulesOf(deployed: Parameters<typeof graphOf>[0], name: string, side: 'ingress' | 'egress') {
  const { inputs } = one(await graphOf(deployed), 'aws:ec2/securityGroup:SecurityGroup', name);
  return inputs[side].map((rule: any) => `${rule.protocol} ${rule.cidrBlocks.join()} ${rule.fromPort}`);
}

test('instances in public subnets require IMDSv2 and have encrypted disks', async () => {
  for (const deployed of ['personal', 'hosted', 'thrifty'] as const) {
    const instances = ofType(await graphOf(deployed), 'aws:ec2/instance:Instance');
    expect(instances.length, deployed).toBeGreaterThan(0);
    for (const { name, inputs } of instances) {
      expect(inputs.metadataOptions, name).toMatchObject({
        httpTokens: 'required',
        httpPutResponseHopLimit: 1,
      });
      expect(inputs.rootBlockDevice, name).toEqual({ encrypted: true });
    }
  }
});

test('the security group of the bastion allows SSH from DEPLOY_CIDRS, and egress to the brokers', async () => {
  expect(await rulesOf('hosted', 'NetworkBastionSecurityGroup', 'ingress')).toEqual([
    `tcp ${DEPLOY_CIDR} 22`,
  ]);
  expect(await rulesOf('hosted', 'NetworkBastionSecurityGroup', 'egress')).toEqual(['tcp 10.0.0.0/16 9098']);
});

test('the security group of a NAT instance allows egress to the cameras, and no SSH unless there is a tunnel', async () => {
  expect(await rulesOf('thrifty', 'NetworkNatInstanceSecurityGroup', 'egress')).toEqual([
    'tcp 0.0.0.0/0 443',
    'tcp 0.0.0.0/0 8883',
    'tcp 10.64.0.0/10 554',
    'tcp 10.64.0.0/10 8554',
    'tcp 10.0.0.0/16 9098',
  ]);
  // AWS refuses a rule without an address.
  expect(await rulesOf('thrifty', 'NetworkNatInstanceSecurityGroup', 'ingress')).toEqual([
    '-1 10.0.0.0/16 0',
  ]);
});

test.each([
  ['personal', 'NetworkNatInstance1'],
  ['thrifty', 'NetworkNatInstance3'],
  ['hosted', 'NetworkBastionInstance'],
] as const)('%s: a deploy keeps the image of %s when AWS has a newer one', async (deployed, name) => {
  expect(one(await graphOf(deployed), 'aws:ec2/instance:Instance', name).ignoreChanges).toEqual(['ami']);
});

/** Every pair for which both sides have a rule: `from -> to:port`. */
function reachable(graph: Graph): string[] {
  const inline = ofType(graph, 'aws:ec2/securityGroup:SecurityGroup').flatMap(({ name, inputs }) =>
    (inputs.egress ?? []).map((rule: { toPort: number }) => `${name} out on ${rule.toPort}`),
  );
  const egress = ofType(graph, EGRESS).map(({ inputs }) => ({
    from: inputs.securityGroupId,
    to:
      inputs.referencedSecurityGroupId ??
      inputs.cidrIpv4 ??
      (inputs.prefixListId === 'pl-NetworkS3' ? 'S3' : '?'),
    port: inputs.fromPort,
    group: Boolean(inputs.referencedSecurityGroupId),
  }));
  const accepted = new Set(
    ofType(graph, INGRESS).map(
      ({ inputs }) =>
        `${inputs.referencedSecurityGroupId ?? inputs.cidrIpv4} -> ${inputs.securityGroupId}:${inputs.fromPort}`,
    ),
  );
  const pairs = egress
    .map(({ from, to, port, group }) => ({ pair: `${from} -> ${to}:${port}`, group }))
    .filter(({ pair, group }) => !group || accepted.has(pair));
  // The bastion is the NAT, whose way out SST writes into the group itself.
  for (const pair of accepted) {
    const [from = '', , to = ''] = pair.split(' ');
    if (/^\d/.test(from) || inline.includes(`${from} out on ${to.split(':')[1]}`))
      pairs.push({ pair, group: true });
  }
  const unused = [...accepted].filter((pair) => !pairs.some((one) => one.pair === pair));
  expect(unused.filter((pair) => !MANAGED.some((group) => pair.startsWith(group)))).toEqual([]);
  return pairs.map(({ pair }) => pair).sort();
}

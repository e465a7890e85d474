import type * as pulumi from '@pulumi/pulumi';

/** The account in every ARN of an offline evaluation. */
export const ACCOUNT = '123456789012';
/** Zones by name and id, as in an account with a Local Zone and with a zone that EKS refuses. AWS sorts them by name. */
const ZONES = [
  { zone: '-bos-1a', id: 'use1-bos1-az1', optedIn: true },
  { zone: 'a', id: 'zone-1' },
  { zone: 'b', id: 'use1-az3' },
  { zone: 'c', id: 'zone-2' },
  { zone: 'd', id: 'zone-3' },
];

type Fields = Record<string, any>;

const partitionOf = (region: string) => (region.startsWith('us-gov-') ? 'aws-us-gov' : 'aws');

/** AWS's outputs for resources whose outputs the program uses. All other resources get an id and an ARN only. */
const computed: Record<string, (name: string, inputs: Fields, region: string) => Fields> = {
  'aws:msk/cluster:Cluster': (name, _inputs, region) => ({
    bootstrapBrokersSaslIam: [1, 2].map((id) => `b-${id}.${name}.kafka.${region}.amazonaws.com:9098`).join(),
    currentVersion: 'K3',
  }),
  'aws:ec2/vpcEndpoint:VpcEndpoint': (name) => ({ prefixListId: `pl-${name}` }),
  'aws:eks/cluster:Cluster': (name) => ({
    endpoint: `https://${name}.eks.amazonaws.com`,
    certificateAuthority: { data: 'Y2VydGlmaWNhdGU=' },
    vpcConfig: { clusterSecurityGroupId: `${name}ClusterSecurityGroup` },
  }),
  'aws:ecs/taskDefinition:TaskDefinition': (_name, { family }, region) => ({
    arn: `arn:${partitionOf(region)}:ecs:${region}:${ACCOUNT}:task-definition/${family}:1`,
  }),
  'aws:ecr/repository:Repository': (name, inputs, region) => ({
    repositoryUrl: `${ACCOUNT}.dkr.ecr.${region}.amazonaws.com/${inputs.name ?? name}`,
  }),
  'docker-build:index:Image': (name, inputs) => ({
    digest: 'sha256:0000',
    ref: `${inputs.tags?.[0] ?? name}@sha256:0000`,
  }),
  'kubernetes:core/v1:Service': () => ({
    status: { loadBalancer: { ingress: [{ hostname: 'inference.elb.amazonaws.com' }] } },
  }),
  'aws:secretsmanager/secretVersion:SecretVersion': () => ({ versionId: 'version' }),
  'aws:ec2/launchTemplate:LaunchTemplate': () => ({ latestVersion: 1 }),
  'aws:acm/certificate:Certificate': () => ({
    domainValidationOptions: [
      { resourceRecordName: '_validate', resourceRecordType: 'CNAME', resourceRecordValue: '_acm' },
    ],
  }),
  'aws:lb/loadBalancer:LoadBalancer': (name) => ({
    arnSuffix: `app/${name}/0`,
    dnsName: `${name}.elb.amazonaws.com`,
    zoneId: 'ELB',
  }),
  'pulumi-nodejs:dynamic:Resource': () => ({ zoneId: 'ZONE' }),
  'random:index/randomBytes:RandomBytes': () => ({ base64: 'AAAA' }),
};

/** AWS's results for look-ups. */
const lookups: Record<string, (inputs: Fields, region: string) => Fields> = {
  'aws:index/getCallerIdentity:getCallerIdentity': (_, region) => ({
    accountId: ACCOUNT,
    arn: `arn:${partitionOf(region)}:sts::${ACCOUNT}:assumed-role/deploy/session`,
  }),
  'aws:index/getPartition:getPartition': (_, region) => ({
    partition: partitionOf(region),
    dnsSuffix: 'amazonaws.com',
  }),
  'aws:index/getRegion:getRegion': (_, region) => ({ region, name: region, id: region }),
  'aws:index/getAvailabilityZones:getAvailabilityZones': ({ excludeZoneIds = [], filters = [] }, region) => {
    const standard = filters.some(({ name }: Fields) => name === 'opt-in-status');
    const found = ZONES.filter(({ id, optedIn }) => !excludeZoneIds.includes(id) && !(standard && optedIn));
    return { names: found.map(({ zone }) => region + zone), zoneIds: found.map(({ id }) => id) };
  },
  'aws:iam/getPolicyDocument:getPolicyDocument': (inputs) => ({ ...inputs, json: policyJson(inputs) }),
  'aws:secretsmanager/getRandomPassword:getRandomPassword': () => ({ randomPassword: 'random' }),
  'aws:ec2/getAmi:getAmi': () => ({ id: 'ami-0' }),
  'aws:ecr/getAuthorizationToken:getAuthorizationToken': () => ({
    proxyEndpoint: 'ecr',
    userName: 'AWS',
    password: 'token',
  }),
};

/** @returns Pulumi mocks in which id, name and ARN of a resource identify it */
export function createMocks(region: string, answers: Fields = {}): pulumi.runtime.Mocks {
  return {
    newResource({ type, name, inputs, id }) {
      return {
        id: id || name,
        state: {
          arn: arnOf(type, inputs.name ?? inputs.bucket ?? name, region),
          name,
          bucket: name,
          ...inputs,
          ...computed[type]?.(name, inputs, region),
          ...answers[type],
        },
      };
    },
    call({ token, inputs }) {
      const answer = lookups[token];
      if (!answer) throw new Error(`no offline answer for ${token}`);
      return answer(inputs, region);
    },
  };
}

/** Service and resource part of the ARN, for types whose ARNs appear in policies. */
const RESOURCE_OF: Record<string, (name: string) => string> = {
  'aws:cloudwatch/logGroup:LogGroup': (name) => `logs:log-group:${name}`,
  'aws:cloudwatch/eventBus:EventBus': (name) => `events:event-bus/${name}`,
  'aws:secretsmanager/secret:Secret': (name) => `secretsmanager:secret:${name}-AbCdEf`,
  'aws:sagemaker/endpoint:Endpoint': (name) => `sagemaker:endpoint/${name}`,
  'aws:ecs/cluster:Cluster': (name) => `ecs:cluster/${name}`,
  'aws:msk/cluster:Cluster': (name) => `kafka:cluster/${name}/uuid`,
};

function arnOf(type: string, name: string, region: string): string {
  const plain = type.split(':')[1]?.split('/')[0] ?? '';
  const arn = `arn:${partitionOf(region)}`;
  if (plain === 's3') return `${arn}:s3:::${name}`;
  if (plain === 'iam') return `${arn}:iam::${ACCOUNT}:role/${name}`;
  const [service = '', ...rest] = (RESOURCE_OF[type]?.(name) ?? `${plain}:${name}`).split(':');
  return `${arn}:${service}:${region}:${ACCOUNT}:${rest.join(':')}`;
}

/** The policy document in the form of AWS's provider: a list with one value becomes that value. */
function policyJson({ statements = [] }: Fields): string {
  const list = (values: unknown[] | undefined) => (values?.length === 1 ? values[0] : values);
  return JSON.stringify({
    Version: '2012-10-17',
    Statement: statements.map((one: Fields) => ({
      Sid: one.sid,
      Effect: one.effect ?? 'Allow',
      Action: list(one.actions),
      Resource: list(one.resources),
      Principal:
        one.principals &&
        Object.fromEntries(one.principals.map(({ type, identifiers }: Fields) => [type, list(identifiers)])),
      Condition:
        one.conditions &&
        Object.fromEntries(
          one.conditions.map(({ test, variable, values }: Fields) => [test, { [variable]: list(values) }]),
        ),
    })),
  });
}

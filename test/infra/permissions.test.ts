import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { STAGES } from '@video-pipeline/stages';
import { describe, expect, test } from 'vitest';
import { title } from '../../infra/settings.ts';
import { stageOf } from '../../infra/stages.ts';
import { ACCOUNT, DEPLOYED, EVALUATIONS, graphOf, ofType, one } from './graphs.ts';
import type { Graph, Resource } from './offline/evaluate.ts';
import { ROOT } from './offline/platform.ts';

interface Statement {
  Effect: string;
  Action: string | string[];
  Resource?: string | string[];
  Condition?: unknown;
}

/** What our code, or AWS in its name, does by each role: an action for each call, with what it is done to. */
const POLLERS = [
  'ec2:AssignPrivateIpAddresses *',
  'ec2:UnassignPrivateIpAddresses *',
  'ec2:CreateNetworkInterface *',
  'ec2:DeleteNetworkInterface *',
  'ec2:DescribeNetworkInterfaces *',
  'ec2:DescribeSecurityGroups *',
  'ec2:DescribeSubnets *',
  'ec2:DescribeVpcs *',
  'kafka-cluster:Connect cluster',
  'kafka-cluster:DescribeClusterDynamicConfiguration cluster',
  'kafka:DescribeCluster cluster',
  'kafka:DescribeClusterV2 cluster',
  'kafka:GetBootstrapBrokers *',
  's3:ListBucket store',
];
/** Where a mapping puts a batch that it gave up on: provisioned pollers alone have such a place. */
const DESTINATION = ['s3:PutObject store/aws/lambda/*'];
const PULL = [
  'ecr:BatchCheckLayerAvailability repository/video-pipeline/*',
  'ecr:BatchGetImage repository/video-pipeline/*',
  'ecr:GetAuthorizationToken *',
  'ecr:GetDownloadUrlForLayer repository/video-pipeline/*',
];
const logs = (group: string) => [`logs:CreateLogStream ${group}`, `logs:PutLogEvents ${group}`];
const EXPECTED: [role: RegExp, allowed: string[]][] = [
  [
    /^DetectRole$/,
    [
      ...POLLERS,
      ...logs('detect'),
      'kafka-cluster:DescribeTopic topic/video-frames',
      'kafka-cluster:ReadData topic/video-frames',
      'kafka-cluster:ReadData topic/detections',
      'kafka-cluster:ReadData topic/events',
      'kafka-cluster:DescribeGroup group/frame-consumer-group',
      'kafka-cluster:AlterGroup group/frame-consumer-group',
      'kafka-cluster:DescribeTopic topic/detections',
      'kafka-cluster:WriteData topic/detections',
      'kafka-cluster:DescribeTopic topic/events',
      'kafka-cluster:WriteData topic/events',
      's3:GetObject store/config/streams.json',
      's3:PutObject store/events/*',
      's3:PutObject store/late/*',
      's3:GetObject store/failed/detect/*',
      's3:PutObject store/failed/detect/*',
    ],
  ],
  [
    /^AnnotateRole$/,
    [
      ...POLLERS,
      ...logs('annotate'),
      'kafka-cluster:DescribeTopic topic/detections',
      'kafka-cluster:ReadData topic/detections',
      'kafka-cluster:DescribeGroup group/frame-consumer-group-annotate',
      'kafka-cluster:AlterGroup group/frame-consumer-group-annotate',
      's3:GetObject store/detections/*',
      's3:PutObject store/annotated/*',
      's3:PutObject store/detections/*',
      's3:PutObject store/late/*',
      's3:GetObject store/failed/annotate/*',
      's3:PutObject store/failed/annotate/*',
    ],
  ],
  [
    /^NotifyRole$/,
    [
      ...POLLERS,
      ...logs('notify'),
      'kafka-cluster:DescribeTopic topic/events',
      'kafka-cluster:ReadData topic/events',
      'kafka-cluster:DescribeGroup group/frame-consumer-group-notify',
      'kafka-cluster:AlterGroup group/frame-consumer-group-notify',
      's3:GetObject store/failed/notify/*',
      's3:PutObject store/failed/notify/*',
      'events:PutEvents bus',
    ],
  ],
  [
    /^ClipRole$/,
    [
      ...POLLERS,
      ...logs('clip'),
      'kafka-cluster:DescribeTopic topic/events',
      'kafka-cluster:ReadData topic/events',
      'kafka-cluster:DescribeGroup group/frame-consumer-group-clip',
      'kafka-cluster:AlterGroup group/frame-consumer-group-clip',
      's3:GetObject store/annotated/*',
      's3:PutObject store/clips/*',
      's3:GetObject store/failed/clip/*',
      's3:PutObject store/failed/clip/*',
    ],
  ],
  [
    /^CompactRole$/,
    [
      ...POLLERS.filter((one) => /^ec2:(?!DescribeSecurityGroups|DescribeVpcs)/.test(one)),
      ...logs('compact'),
      's3:DeleteObject store/late/*',
      's3:GetObject store/detections/*',
      's3:GetObject store/events/*',
      's3:GetObject store/tables/*',
      's3:ListBucket store',
      's3:PutObject store/tables/*',
    ],
  ],
  [
    /^Ingest\dTaskRole$/,
    [
      'kafka-cluster:Connect cluster',
      'kafka-cluster:WriteDataIdempotently cluster',
      'kafka-cluster:DescribeTopic topic/video-frames',
      'kafka-cluster:WriteData topic/video-frames',
    ],
  ],
  [/^Ingest\dExecutionRole$/, [...PULL, ...logs('ingest'), 'secretsmanager:GetSecretValue streams']],
  [/^TestCameraTaskRole$/, []],
  [/^TestCameraExecutionRole$/, [...PULL, ...logs('test-camera')]],
  [
    /^ConsoleTaskRole$/,
    [
      'kafka-cluster:AlterGroup group/frame-consumer-group-console-*',
      'kafka-cluster:Connect cluster',
      'kafka-cluster:DescribeClusterDynamicConfiguration cluster',
      'kafka-cluster:DescribeGroup group/frame-consumer-group',
      'kafka-cluster:DescribeGroup group/frame-consumer-group-annotate',
      'kafka-cluster:DescribeGroup group/frame-consumer-group-clip',
      'kafka-cluster:DescribeGroup group/frame-consumer-group-console-*',
      'kafka-cluster:DescribeGroup group/frame-consumer-group-notify',
      'kafka-cluster:DescribeTopic topic/detections',
      'kafka-cluster:DescribeTopic topic/events',
      'kafka-cluster:DescribeTopic topic/video-frames',
      'kafka-cluster:ReadData topic/detections',
      'kafka-cluster:ReadData topic/events',
      // A failed record goes back to the topic it came from.
      'kafka-cluster:WriteData topic/detections',
      'kafka-cluster:WriteData topic/events',
      'kafka-cluster:WriteData topic/video-frames',
      's3:DeleteObject store/aws/lambda/*',
      's3:DeleteObject store/failed/*',
      's3:GetObject store/aws/lambda/*',
      's3:GetObject store/annotated/*',
      's3:GetObject store/clips/*',
      's3:GetObject store/config/streams.json',
      's3:GetObject store/detections/*',
      's3:GetObject store/events/*',
      's3:GetObject store/failed/*',
      's3:GetObject store/reviews/*',
      's3:GetObject store/tables/*',
      's3:ListBucket store',
      's3:PutObject store/reviews/*',
    ],
  ],
  [/^ConsoleExecutionRole$/, [...PULL, ...logs('console'), 'secretsmanager:GetSecretValue token']],
  [
    /^IngestHostsRole$/,
    [
      'ecs:DeregisterContainerInstance cluster/video-pipeline-hosted-ingest',
      'ecs:DiscoverPollEndpoint *',
      'ecs:Poll container-instance/video-pipeline-hosted-ingest/*',
      'ecs:RegisterContainerInstance cluster/video-pipeline-hosted-ingest',
      'ecs:StartTelemetrySession container-instance/video-pipeline-hosted-ingest/*',
      'ecs:SubmitAttachmentStateChanges cluster/video-pipeline-hosted-ingest',
      'ecs:SubmitContainerStateChange cluster/video-pipeline-hosted-ingest',
      'ecs:SubmitTaskStateChange cluster/video-pipeline-hosted-ingest',
      'ecs:UpdateContainerInstancesState container-instance/video-pipeline-hosted-ingest/*',
    ],
  ],
  [
    /^KedaRole$/,
    [
      'kafka-cluster:Connect cluster',
      'kafka-cluster:DescribeGroup group/frame-consumer-group',
      'kafka-cluster:DescribeTopic topic/video-frames',
    ],
  ],
  [
    /^InferenceRole$/,
    [
      ...PULL,
      'cloudwatch:PutMetricData *',
      'logs:CreateLogGroup endpoints',
      'logs:CreateLogStream endpoints',
      'logs:DescribeLogStreams endpoints',
      'logs:PutLogEvents endpoints',
    ],
  ],
  [/^Inference(Cluster|Node|Insights)Role$/, []],
  [/^Network.*Role$/, []],
];

/** Policies that AWS keeps, for roles that AWS's own software takes. */
const MANAGED: Record<string, string[]> = {
  InferenceClusterRole: [
    'AmazonEKSClusterPolicy',
    'AmazonEKSComputePolicy',
    'AmazonEKSBlockStoragePolicy',
    'AmazonEKSLoadBalancingPolicy',
    'AmazonEKSNetworkingPolicy',
  ],
  InferenceNodeRole: ['AmazonEKSWorkerNodeMinimalPolicy', 'AmazonEC2ContainerRegistryPullOnly'],
  InferenceInsightsRole: ['CloudWatchAgentServerPolicy'],
};

/** Actions for which AWS knows no resource narrower than `*`. */
const RESOURCELESS =
  /^(ec2:(Assign|Unassign|Create|Delete|Describe)\w+|kafka:GetBootstrapBrokers|ecr:GetAuthorizationToken|ecs:DiscoverPollEndpoint|cloudwatch:PutMetricData)$/;

/** What SST's own live bridge needs in `sst dev`, and what only a stage with SageMaker has. */
const LIVE = ['appsync:* *', 's3:* sst-asset', 's3:* sst-asset/*'];
/** A stage that publishes by MQTT and has a webhook reads their secrets, each where it is used. */
const reading = (secret: string) => `secretsmanager:GetSecretValue ${secret}`;
const OF_MQTT = ['MQTT_USERNAME', 'MQTT_PASSWORD'].map(reading);
const OF_WEBHOOK = ['WEBHOOK_URL', 'WEBHOOK_SECRET'].map(reading);
const SAGEMAKER = (stage: string) => [`sagemaker:InvokeEndpoint video-pipeline-${stage}`];

describe.each(DEPLOYED)('IAM roles of %s', (deployed) => {
  test('allow only the actions of the code, on its resources', async () => {
    const graph = await graphOf(deployed);
    for (const role of ofType(graph, 'aws:iam/role:Role')) {
      const [, expected] = EXPECTED.find(([name]) => name.test(role.name)) ?? [];
      expect(expected, `an expectation for ${role.name}`).toBeDefined();
      const isStage = STAGES.some(({ name }) => role.name === `${title(name)}Role`);
      const waits = !stageOf(EVALUATIONS[deployed].stage).functions.pollers;
      const extra = [
        ...(isStage && !waits ? DESTINATION : []),
        ...(deployed === 'hosted' && role.name === 'CompactRole'
          ? ['s3:DeleteObject store/detections/*']
          : []),
        ...(deployed === 'dev' && (isStage || role.name === 'CompactRole') ? LIVE : []),
        ...(deployed === 'hosted' && role.name === 'AnnotateRole' ? OF_MQTT : []),
        ...(deployed === 'hosted' && role.name === 'NotifyRole' ? [...OF_MQTT, ...OF_WEBHOOK] : []),
        ...(['personal', 'hosted'].includes(deployed) && role.name === 'DetectRole'
          ? SAGEMAKER(EVALUATIONS[deployed].stage)
          : []),
      ];
      expect(allowed(role), role.name).toEqual([...new Set([...(expected ?? []), ...extra])].sort());
      const managed = (role.inputs.managedPolicyArns ?? []).map((arn: string) => arn.split('/').at(-1));
      expect(managed, role.name).toEqual(MANAGED[role.name] ?? []);
    }
  });

  test('are assumed only by their own service', async () => {
    const takers = ofType(await graphOf(deployed), 'aws:iam/role:Role').flatMap(({ name, inputs }) => {
      const { assumeRolePolicy: trust } = inputs;
      const { Statement } = typeof trust === 'string' ? JSON.parse(trust) : trust;
      // In `sst dev` the developer's machine does the work, with the function's role.
      const own = deployed === 'dev' && !/^(Network|Inference)/.test(name) ? ['AWS', 'Service'] : ['Service'];
      const others = Statement.filter(
        ({ Principal }: any) => String(Object.keys(Principal).sort()) !== String(own),
      );
      return others.length > 0 ? [name] : [];
    });
    expect(takers).toEqual([]);
  });

  test('have no wildcard action, and a wildcard resource only where AWS offers nothing narrower', async () => {
    for (const { name, statement } of statements(await graphOf(deployed))) {
      // SST's live bridge, in personal stages alone.
      if (deployed === 'dev' && [statement.Action].flat().some((action) => /^(appsync|s3):\*$/.test(action)))
        continue;
      for (const action of [statement.Action].flat()) {
        expect(action, name).not.toContain('*');
        if ([statement.Resource].flat().includes('*')) expect(action, name).toMatch(RESOURCELESS);
      }
    }
  });
});

test('every AWS SDK command in the sources is in the list that these roles were written for', () => {
  const sources = globSync(
    '{functions,ingest-host,model,packages/{console,inference-client,kafka,recovery,storage,tables}}/src/**/*.ts',
    {
      cwd: ROOT,
      exclude: (path) => String(path).endsWith('.test.ts'),
    },
  );
  const commands = sources.flatMap((file) => {
    const code = readFileSync(join(ROOT, file), 'utf8');
    return [...code.matchAll(/\bnew (\w+)Command\(/g)].map(([, command]) => command);
  });
  expect([...new Set(commands)].sort()).toEqual([
    'DeleteObjects',
    'GetObject',
    'GetSecretValue',
    'InvokeEndpoint',
    'ListObjectsV2',
    'PutEvents',
    'PutObject',
  ]);
});

test('policies of buckets, topics and secrets only deny, or name the sender that they allow', async () => {
  for (const deployed of DEPLOYED) {
    const graph = await graphOf(deployed);
    const bucket = JSON.parse(ofType(graph, 'aws:s3/bucketPolicy:BucketPolicy')[0]?.inputs.policy ?? '{}');
    expect(bucket.Statement).toEqual([expect.objectContaining({ Effect: 'Deny', Action: 's3:*' })]);
    const topics = ofType(graph, 'aws:sns/topicPolicy:TopicPolicy');
    // A topic has one policy: the last one that is set.
    expect(topics).toHaveLength(1);
    const { Statement } = JSON.parse(topics[0]?.inputs.policy ?? '{}');
    const from = (service: string, source: string) =>
      Statement.filter(
        ({ Effect, Action, Principal, Condition }: any) =>
          Effect === 'Allow' &&
          Action === 'sns:Publish' &&
          Principal.Service === service &&
          source.startsWith(Condition.ArnLike['aws:SourceArn'].replace(/\*$/, '')),
      );
    const alarm = `arn:aws:cloudwatch:us-east-1:${ACCOUNT}:alarm:Silent`;
    expect(from('cloudwatch.amazonaws.com', alarm), 'alarms reach the topic').toHaveLength(1);
    expect(from('cloudwatch.amazonaws.com', alarm.replace(ACCOUNT, '210987654321'))).toHaveLength(0);
    expect(from('s3.amazonaws.com', `arn:aws:s3:::${storeOf(graph)}`)).toHaveLength(1);
    expect(from('s3.amazonaws.com', 'arn:aws:s3:::another')).toHaveLength(0);
    expect(Statement).toHaveLength(2);
  }
});

test("S3 notifies an SNS topic of each batch that Lambda gave up on, after the topic's policy allows it", async () => {
  for (const deployed of DEPLOYED) {
    const notification = one(
      await graphOf(deployed),
      'aws:s3/bucketNotification:BucketNotification',
      'StoreNotification',
    );
    expect(notification.inputs.topics).toEqual([
      expect.objectContaining({ events: ['s3:ObjectCreated:*'], filterPrefix: 'aws/lambda/' }),
    ]);
    expect(notification.dependsOn).toContain('AlarmsPolicy');
  }
});

function storeOf(graph: Graph): string {
  return one(graph, 'aws:s3/bucket:Bucket', 'StoreBucket').inputs.bucket;
}

function statements(graph: Graph): { name: string; statement: Statement }[] {
  return ofType(graph, 'aws:iam/role:Role').flatMap((role) =>
    policies(role).map((statement) => ({ name: role.name, statement })),
  );
}

function policies({ inputs }: Resource): Statement[] {
  const inline: { policy: string }[] = inputs.inlinePolicies ?? [];
  return inline.flatMap(({ policy }) => JSON.parse(policy).Statement);
}

/** `action what`, once each. */
function allowed(role: Resource): string[] {
  const pairs = policies(role).flatMap(({ Effect, Action, Resource }) => {
    expect(Effect).toBe('Allow');
    return [Action]
      .flat()
      .flatMap((action) => [Resource].flat().map((arn) => `${action} ${shorten(arn ?? '')}`));
  });
  return [...new Set(pairs)].sort();
}

/** What an ARN names, without account, region and random parts. */
function shorten(arn: string): string {
  return arn
    .replace(/^arn:aws:kafka:.*:(topic|group)\/[^/]+\/[^/]+\//, '$1/')
    .replace(/^arn:aws:kafka:.*:cluster\/.*/, 'cluster')
    .replace(/^arn:aws:s3:::video-pipeline-\w+-storebucket-\w+/, 'store')
    .replace(/^arn:aws:s3:::/, '')
    .replace(/^arn:aws:ecr:.*:repository/, 'repository')
    .replace(/^arn:aws:logs:.*:log-group:\/video-pipeline\/\w+\/([a-z-]+)\d*(:\*)?$/, '$1')
    .replace(/^arn:aws:logs:.*\/aws\/sagemaker\/Endpoints\/\*$/, 'endpoints')
    .replace(/^arn:aws:events:.*event-bus\/.*-EventsBus-\w+$/, 'bus')
    .replace(/^arn:aws:secretsmanager:.*\/(streams|token|[A-Z_]+)-\w{6}$/, '$1')
    .replace(/^arn:aws:ecs:[^:]*:[^:]*:/, '')
    .replace(/^arn:aws:sagemaker:.*:endpoint\//, '');
}

import functionsPackage from '../functions/package.json' with { type: 'json' };
import type { Camera } from './cameras.ts';
import type { InferenceTarget } from './inference.ts';
import { type KafkaCluster, kafkaPermissions } from './kafka.ts';
import { createLogGroup } from './logs.ts';
import {
  ANYWHERE,
  connect,
  connectOut,
  createGroup,
  type createNetwork,
  type Group,
  HTTPS,
  reachAws,
  reachS3,
} from './network.ts';
import {
  ANNOTATE_GROUP,
  CLIP_GROUP,
  deployment,
  KAFKA_IAM_PORT,
  NOTIFY_GROUP,
  pipeline,
} from './settings.ts';
import type { Lambda, Stage } from './stages.ts';
import { LOST_BATCHES } from './storage.ts';

type Permissions = sst.aws.FunctionPermissionArgs[];

interface Parts {
  stage: Stage;
  network: ReturnType<typeof createNetwork>;
  kafka: KafkaCluster;
  store: sst.aws.Bucket;
}

const NOTIFY: Lambda = { memoryMb: 512, timeoutSeconds: 120 };

interface StageFunction {
  name: 'Detect' | 'Annotate' | 'Notify' | 'Clip';
  size: Lambda;
  topic: string;
  consumerGroup: string;
  group: Group;
  environment: Record<string, $util.Input<string>>;
  permissions: Permissions;
  /** Packages beside the bundle, for the function's platform, as functions/package.json pins them or in a version. */
  install?: string[] | Record<string, string>;
}

/** The Lambda functions of the pipeline, each behind its MSK event-source mapping. */
export function createFunctions(parts: Parts, inference: InferenceTarget, cameras: Camera[]) {
  const { stage, network, kafka, store } = parts;
  const detectGroup = createGroup(network.vpc, 'Detect');
  connect(detectGroup, kafka.group, KAFKA_IAM_PORT);
  inference.allow(detectGroup);
  const detect = createFunction(parts, {
    name: 'Detect',
    size: stage.functions.detect,
    topic: pipeline.KAFKA_TOPIC,
    consumerGroup: pipeline.KAFKA_GROUP_ID,
    group: detectGroup,
    environment: {
      ...kafkaEnvironment(kafka),
      ...inference.environment,
      INFERENCE_CONFIDENCE_THRESHOLD: String(pipeline.INFERENCE_CONFIDENCE_THRESHOLD),
      S3_BUCKET: store.name,
      S3_PREFIX: pipeline.S3_PREFIX,
      ...(stage.functions.clip && { EVENT_CLIPS: 'on' }),
      ...scenesEnvironment(cameras),
    },
    permissions: [
      ...kafkaPermissions(kafka, {
        // Tracks go on from the newest of what was detected before, and no event is told twice.
        read: [pipeline.KAFKA_TOPIC, pipeline.KAFKA_DETECTIONS_TOPIC, pipeline.KAFKA_EVENTS_TOPIC],
        groups: [pipeline.KAFKA_GROUP_ID],
        write: [pipeline.KAFKA_DETECTIONS_TOPIC, pipeline.KAFKA_EVENTS_TOPIC],
      }),
      putObjects(store, 'failed/detect/*'),
      ...inference.permissions,
    ],
  });
  const annotate = createFunction(parts, {
    name: 'Annotate',
    size: stage.functions.annotate,
    topic: pipeline.KAFKA_DETECTIONS_TOPIC,
    consumerGroup: ANNOTATE_GROUP,
    group: createGroup(network.vpc, 'Annotate'),
    environment: { S3_BUCKET: store.name, S3_PREFIX: pipeline.S3_PREFIX },
    // Native code, and a font that is read as a file: neither can be bundled.
    install: ['sharp', '@fontsource/b612'],
    permissions: [
      ...kafkaPermissions(kafka, { read: [pipeline.KAFKA_DETECTIONS_TOPIC], groups: [ANNOTATE_GROUP] }),
      putObjects(store, `${pipeline.S3_PREFIX}/*`, 'detections/*', 'failed/annotate/*'),
    ],
  });
  const { clip } = stage.functions;
  return { detect, annotate, notify: createNotify(parts), ...(clip && { clip: createClip(parts, clip) }) };
}

/** Puts the scenes' events on a bus of the stage, and posts them where WEBHOOK_URL says. */
function createNotify(parts: Parts) {
  const { kafka, network, store } = parts;
  const { WEBHOOK_URL, WEBHOOK_SECRET } = deployment();
  const bus = new sst.aws.Bus('Events');
  const group = createGroup(network.vpc, 'Notify');
  reachAws(network, group);
  if (WEBHOOK_URL && network.endpointGroup) connectOut(group, ANYWHERE, HTTPS);
  return createFunction(parts, {
    name: 'Notify',
    size: NOTIFY,
    topic: pipeline.KAFKA_EVENTS_TOPIC,
    consumerGroup: NOTIFY_GROUP,
    group,
    environment: {
      EVENT_BUS_NAME: bus.name,
      S3_BUCKET: store.name,
      ...(WEBHOOK_URL && { WEBHOOK_URL }),
      ...(WEBHOOK_SECRET && { WEBHOOK_SECRET: $util.secret(WEBHOOK_SECRET) }),
    },
    permissions: [
      ...kafkaPermissions(kafka, { read: [pipeline.KAFKA_EVENTS_TOPIC], groups: [NOTIFY_GROUP] }),
      putObjects(store, 'failed/notify/*'),
      { actions: ['events:PutEvents'], resources: [bus.arn] },
    ],
  });
}

/** Stores a clip of each event. What it lists, its pollers may list already. */
function createClip(parts: Parts, size: Lambda) {
  const { kafka, network, store } = parts;
  return createFunction(parts, {
    name: 'Clip',
    size,
    topic: pipeline.KAFKA_EVENTS_TOPIC,
    consumerGroup: CLIP_GROUP,
    group: createGroup(network.vpc, 'Clip'),
    environment: { S3_BUCKET: store.name, S3_PREFIX: pipeline.S3_PREFIX },
    // The native code alone. The rest of node-av is bundled: its install script wants the deploying machine's binary.
    install: { '@seydx/node-av-linux-arm64': functionsPackage.dependencies['node-av'] },
    permissions: [
      ...kafkaPermissions(kafka, { read: [pipeline.KAFKA_EVENTS_TOPIC], groups: [CLIP_GROUP] }),
      { actions: ['s3:GetObject'], resources: [$interpolate`${store.arn}/${pipeline.S3_PREFIX}/*`] },
      putObjects(store, 'clips/*', 'failed/clip/*'),
    ],
  });
}

/** What a Kafka client of ours reads from its environment. */
export function kafkaEnvironment(kafka: KafkaCluster) {
  return {
    KAFKA_BOOTSTRAP_SERVERS: kafka.bootstrapServers,
    KAFKA_AUTH: 'iam',
    KAFKA_TOPIC: pipeline.KAFKA_TOPIC,
    KAFKA_DETECTIONS_TOPIC: pipeline.KAFKA_DETECTIONS_TOPIC,
    KAFKA_EVENTS_TOPIC: pipeline.KAFKA_EVENTS_TOPIC,
  };
}

/** The scenes of the cameras that have one, without the cameras' addresses, which hold passwords. */
export function scenesEnvironment(cameras: Camera[]): { STREAMS?: string } {
  const scenes = cameras.filter(({ scene }) => scene).map(({ id, scene }) => ({ id, scene }));
  return scenes.length > 0 ? { STREAMS: JSON.stringify(scenes) } : {};
}

function putObjects(store: sst.aws.Bucket, ...keys: string[]) {
  return { actions: ['s3:PutObject'], resources: keys.map((key) => $interpolate`${store.arn}/${key}`) };
}

function createFunction(parts: Parts, spec: StageFunction) {
  const { stage, network, kafka, store } = parts;
  const name = spec.name.toLowerCase();
  reachS3(network, spec.group);
  const logs = createLogGroup(stage, name);
  const fn = new sst.aws.Function(spec.name, {
    handler: `functions/src/${name}.handler`,
    runtime: 'nodejs24.x',
    architecture: 'arm64',
    memory: `${spec.size.memoryMb} MB`,
    timeout: `${spec.size.timeoutSeconds} seconds`,
    logging: { logGroup: logs.name, format: 'json' },
    environment: { LOG_LEVEL: 'INFO', ...spec.environment },
    permissions: [
      ...spec.permissions,
      ...pollerPermissions(stage, kafka, store),
      { actions: ['logs:CreateLogStream', 'logs:PutLogEvents'], resources: [$interpolate`${logs.arn}:*`] },
    ],
    // A partition's batches follow one another: more would only idle.
    concurrency: { reserved: stage.kafka.partitions },
    nodejs: { install: spec.install ?? [], minify: true },
    // A live function only passes its events on to the developer's machine, over the public internet.
    vpc: $dev ? undefined : { securityGroups: [spec.group.id], privateSubnets: network.vpc.privateSubnets },
    // The managed policies that SST attaches allow every log group; the permissions above are all it needs.
    transform: { role: { managedPolicyArns: [] } },
  });
  createMapping(parts, spec, fn);
  return { fn, logs };
}

/** What the mapping's pollers, and Lambda itself on its way into the VPC, do in the function's name. */
function pollerPermissions(stage: Stage, kafka: KafkaCluster, store: sst.aws.Bucket): Permissions {
  return [
    {
      actions: ['kafka:DescribeCluster', 'kafka:DescribeClusterV2'],
      resources: [kafka.arn],
    },
    // AWS knows no narrower resource for these.
    {
      actions: [
        'kafka:GetBootstrapBrokers',
        'ec2:AssignPrivateIpAddresses',
        'ec2:UnassignPrivateIpAddresses',
        'ec2:CreateNetworkInterface',
        'ec2:DeleteNetworkInterface',
        'ec2:DescribeNetworkInterfaces',
        'ec2:DescribeSecurityGroups',
        'ec2:DescribeSubnets',
        'ec2:DescribeVpcs',
      ],
      resources: ['*'],
    },
    ...(stage.functions.pollers ? [putObjects(store, `${LOST_BATCHES}/*`)] : []),
    { actions: ['s3:ListBucket'], resources: [store.arn] },
  ];
}

function createMapping({ stage, kafka, store }: Parts, spec: StageFunction, fn: sst.aws.Function): void {
  const { pollers } = stage.functions;
  new aws.lambda.EventSourceMapping(
    `${spec.name}Mapping`,
    {
      functionName: fn.name,
      eventSourceArn: kafka.arn,
      topics: [spec.topic],
      amazonManagedKafkaEventSourceConfig: { consumerGroupId: spec.consumerGroup },
      startingPosition: 'TRIM_HORIZON',
      batchSize: pipeline.BATCH_SIZE,
      maximumBatchingWindowInSeconds: pipeline.BATCH_TIMEOUT_SECONDS,
      ...(pollers && provisioned(stage, pollers, store)),
    },
    { dependsOn: [fn, ...kafka.topics] },
  );
}

/** Most that Lambda takes: at an attempt every two seconds, five hours and a half. */
const MOST_RETRIES = 10_000;
/** How long before Kafka forgets a record its batch is put aside, seconds. */
const BEFORE_FORGOTTEN = 1800;

/**
 * A batch that fails is delivered again until its records are about to be forgotten, then lies whole in the bucket.
 * Without both numbers Lambda would give up after ten attempts, so an outage of minutes would drain the topic. Mappings
 * without provisioned pollers can't have them: they have no destination, which makes them wait.
 * @see https://docs.aws.amazon.com/lambda/latest/dg/kafka-retry-configurations.html
 */
function provisioned(stage: Stage, pollers: { min: number; max: number }, store: sst.aws.Bucket) {
  return {
    provisionedPollerConfig: {
      minimumPollers: pollers.min,
      maximumPollers: pollers.max,
      // All of the stage's mappings share what they pay for.
      pollerGroupName: `${$app.name}-${$app.stage}`,
    },
    bisectBatchOnFunctionError: true,
    maximumRetryAttempts: MOST_RETRIES,
    maximumRecordAgeInSeconds: stage.kafka.retentionHours * 3600 - BEFORE_FORGOTTEN,
    destinationConfig: { onFailure: { destinationArn: store.arn } },
  };
}

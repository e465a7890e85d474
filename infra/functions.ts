import type { VariableName } from '@video-pipeline/config';
import { CANARY_STOPPED_KEY } from '@video-pipeline/frame';
import { groupOf, type Need, type PipelineStage, topicOf } from '@video-pipeline/stages';
import functionsPackage from '../functions/package.json' with { type: 'json' };
import picturePackage from '../packages/picture/package.json' with { type: 'json' };
import type { InferenceTarget } from './inference-target.ts';
import { type KafkaCluster, kafkaPermissions } from './kafka.ts';
import { createLogGroup } from './logs.ts';
import { metricsEnvironment } from './metrics.ts';
import {
  ANYWHERE,
  connect,
  connectOut,
  createGroup,
  type createNetwork,
  type Group,
  HTTPS,
  reachAws,
  reachCollector,
  reachS3,
} from './network.ts';
import { COMMON_VARIABLES, deployment, environmentOf, KAFKA_IAM_PORT, title } from './settings.ts';
import { deployedStages, type Lambda, type Stage } from './stages.ts';
import { LOST_BATCHES, type StreamList } from './storage.ts';

type Permissions = sst.aws.FunctionPermissionArgs[];
type Environment = Record<string, $util.Input<string>>;

interface Parts {
  stage: Stage;
  network: ReturnType<typeof createNetwork>;
  kafka: KafkaCluster;
  store: sst.aws.Bucket;
  inference: InferenceTarget;
  list: StreamList;
}

/** The Lambda function of a pipeline stage: its needs from the table of stages, resolved for this deployment. */
interface StageFunction {
  /** Name of its resources: the stage's name with a capital first letter. */
  name: string;
  of: PipelineStage;
  size: Lambda;
  topic: string;
  consumerGroup: string;
  group: Group;
  environment: Environment;
  permissions: Permissions;
}

export type Functions = ReturnType<typeof createFunctions>;

/** The Lambda functions of the pipeline by stage, each with its MSK event-source mapping. */
export function createFunctions(parts: Parts) {
  const created = deployedStages(parts.stage).map(({ of, size }) => {
    const spec = specify(parts, of, size);
    const { onlyWith = [] } = of;
    const [by] = onlyWith.filter((name) => name in spec.environment);
    /** Variable by which other processes know that this stage is deployed. */
    const switches: Environment = by ? { [by]: spec.environment[by] } : {};
    return [of.name, { ...createFunction(parts, spec), switches, group: spec.consumerGroup }] as const;
  });
  return Object.fromEntries(created);
}

function specify(parts: Parts, of: PipelineStage, size: Lambda): StageFunction {
  const { network, kafka, store } = parts;
  const { settings } = parts.stage;
  const name = title(of.name);
  const group = createGroup(network.vpc, name);
  const [topic, consumerGroup] = [topicOf(of, settings), groupOf(of, settings)];
  const { needs = [], environment = [], alsoReads = [], writes = [] } = of.lambda;
  const { getsObjects = [], putsObjects = [] } = of.lambda;
  const met = needs.map((need) => NEEDS[need](parts, group));
  const topics = (names: typeof alsoReads) => names.map((variable) => settings[variable]);
  const folders = (names: typeof putsObjects) =>
    names.map((folder) => `${folder === 'S3_PREFIX' ? settings.S3_PREFIX : folder}/*`);
  return {
    name,
    of,
    size,
    topic,
    consumerGroup,
    group,
    environment: {
      ...Object.assign({}, ...met.map((one) => one.environment)),
      S3_BUCKET: store.name,
      ...variablesOf(parts.stage, environment),
    },
    permissions: [
      ...kafkaPermissions(kafka, {
        read: [topic, ...topics(alsoReads)],
        groups: [consumerGroup],
        write: topics(writes),
      }),
      ...(getsObjects.length > 0 ? [objects(store, 's3:GetObject', folders(getsObjects))] : []),
      objects(store, 's3:PutObject', [...folders(putsObjects), `failed/${of.name}/*`]),
      ...met.flatMap((one) => one.permissions ?? []),
    ],
  };
}

/** The stage's values of these variables. A variable that enables a pipeline stage is `on` if that is deployed. */
function variablesOf(stage: Stage, names: readonly VariableName[]): Environment {
  const switches = deployedStages(stage).flatMap(({ of }) => of.onlyWith ?? []);
  const on = names.filter((name) => switches.includes(name)).map((name) => [name, 'on']);
  return { ...Object.fromEntries(on), ...environmentOf(stage, names) };
}

interface Met {
  environment: Environment;
  permissions?: Permissions;
}

/**
 * Environment and permissions for each need of a pipeline stage. They also open the network for the function's group.
 */
const NEEDS: Record<Need, (parts: Parts, group: Group) => Met> = {
  kafka({ stage, kafka }, group) {
    connect(group, kafka.group, KAFKA_IAM_PORT);
    return { environment: kafkaEnvironment(stage, kafka) };
  },
  inference({ store, inference: { environment, permissions, allow, hasCanary } }, group) {
    allow(group);
    const stop = hasCanary ? [objects(store, 's3:GetObject', [CANARY_STOPPED_KEY])] : [];
    return { environment, permissions: [...permissions, ...stop] };
  },
  scenes: ({ store, list }) => ({
    environment: { STREAMS_FILE: list.url },
    permissions: [objects(store, 's3:GetObject', [list.key])],
  }),
  bus({ network }, group) {
    const bus = new sst.aws.Bus('Events');
    reachAws(network, group);
    return {
      environment: { EVENT_BUS_NAME: bus.name },
      permissions: [{ actions: ['events:PutEvents'], resources: [bus.arn] }],
    };
  },
  mqtt({ network }, group) {
    const { MQTT_URL, MQTT_USERNAME, MQTT_PASSWORD, MQTT_TOPIC_PREFIX } = deployment();
    if (!MQTT_URL) return { environment: {} };
    if (network.endpointGroup) connectOut(group, ANYWHERE, mqttPort(MQTT_URL));
    return {
      environment: {
        MQTT_URL,
        MQTT_TOPIC_PREFIX,
        ...(MQTT_USERNAME && { MQTT_USERNAME }),
        ...(MQTT_PASSWORD && { MQTT_PASSWORD: $util.secret(MQTT_PASSWORD) }),
      },
    };
  },
  webhook({ network }, group) {
    const { WEBHOOK_URL, WEBHOOK_SECRET } = deployment();
    if (WEBHOOK_URL && network.endpointGroup) connectOut(group, ANYWHERE, HTTPS);
    return {
      environment: {
        ...(WEBHOOK_URL && { WEBHOOK_URL }),
        ...(WEBHOOK_SECRET && { WEBHOOK_SECRET: $util.secret(WEBHOOK_SECRET) }),
      },
    };
  },
};

function mqttPort(url: string): number {
  const { protocol, port } = new URL(url);
  return Number(port) || (protocol === 'mqtts:' ? 8883 : 1883);
}

/** Environment of a Kafka client. */
export function kafkaEnvironment(stage: Stage, kafka: KafkaCluster) {
  return {
    KAFKA_BOOTSTRAP_SERVERS: kafka.bootstrapServers,
    KAFKA_AUTH: 'iam',
    ...environmentOf(stage, ['KAFKA_TOPIC', 'KAFKA_DETECTIONS_TOPIC', 'KAFKA_EVENTS_TOPIC', 'PICTURES']),
  };
}

function objects(store: sst.aws.Bucket, action: 's3:GetObject' | 's3:PutObject', keys: string[]) {
  return { actions: [action], resources: keys.map((key) => $interpolate`${store.arn}/${key}`) };
}

/** Packages that are installed beside the bundle, in the versions of our package.json files. */
function installed(
  { install, installForVideo }: PipelineStage['lambda'],
  { STORE }: Stage['settings'],
): Record<string, string> {
  const versions: Record<string, string> = {
    ...functionsPackage.dependencies,
    ...picturePackage.dependencies,
  };
  const all = { ...install, ...(STORE === 'video' && installForVideo) };
  return Object.fromEntries(Object.entries(all).map(([name, like]) => [name, versions[like]]));
}

function createFunction(parts: Parts, spec: StageFunction) {
  const { stage, network, kafka, store } = parts;
  reachS3(network, spec.group);
  reachCollector(stage, spec.group);
  const logs = createLogGroup(stage, spec.of.name);
  const fn = new sst.aws.Function(spec.name, {
    handler: spec.of.handler.replace(/\.ts$/, '.handler'),
    runtime: 'nodejs24.x',
    architecture: 'arm64',
    memory: `${spec.size.memoryMb} MB`,
    timeout: `${spec.size.timeoutSeconds} seconds`,
    logging: { logGroup: logs.name, format: 'json' },
    environment: {
      ...environmentOf(stage, COMMON_VARIABLES),
      ...metricsEnvironment(stage),
      ...spec.environment,
    },
    permissions: [
      ...spec.permissions,
      ...pollerPermissions(stage, kafka, store),
      { actions: ['logs:CreateLogStream', 'logs:PutLogEvents'], resources: [$interpolate`${logs.arn}:*`] },
    ],
    // Each partition has one batch at a time: more concurrency would be idle.
    concurrency: { reserved: stage.kafka.partitions },
    nodejs: { install: installed(spec.of.lambda, stage.settings), minify: true },
    // In `sst dev` the function only forwards its events to the developer's machine, over the public internet.
    vpc: $dev ? undefined : { securityGroups: [spec.group.id], privateSubnets: network.vpc.privateSubnets },
    // SST's managed policies allow every log group. The permissions above are enough.
    transform: { role: { managedPolicyArns: [] } },
  });
  createMapping(parts, spec, fn);
  return { fn, logs };
}

/** Permissions that the mapping's pollers, and Lambda for its network interfaces, use through the function's role. */
function pollerPermissions(stage: Stage, kafka: KafkaCluster, store: sst.aws.Bucket): Permissions {
  return [
    {
      actions: ['kafka:DescribeCluster', 'kafka:DescribeClusterV2'],
      resources: [kafka.arn],
    },
    // AWS supports no narrower resource for these actions.
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
    ...(stage.functions.pollers ? [objects(store, 's3:PutObject', [`${LOST_BATCHES}/*`])] : []),
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
      batchSize: stage.settings.BATCH_SIZE,
      // Lambda counts whole seconds.
      maximumBatchingWindowInSeconds: Math.ceil(stage.settings.BATCH_TIMEOUT_SECONDS),
      ...(pollers && provisioned(stage, pollers, store)),
    },
    { dependsOn: [fn, ...kafka.topics] },
  );
}

/** Lambda's maximum: with an attempt every two seconds, five and a half hours. */
const MOST_RETRIES = 10_000;
/** How long before the end of Kafka's retention a batch is given up, seconds. */
const BEFORE_FORGOTTEN = 1800;

/**
 * A batch that fails is delivered again until shortly before the end of Kafka's retention. Then it is stored whole in
 * the bucket. Without both limits Lambda would give up after ten attempts, and an outage of minutes would lose records.
 * Mappings without provisioned pollers can't set them: they have no destination, and retry without an end.
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

import { readConfig } from '@video-pipeline/config';
import { CANARY_STOPPED_KEY } from '@video-pipeline/frame';
import { groupOf, type Need, type PipelineStage, type Receiver, topicOf } from '@video-pipeline/stages';
import { portOf } from '../packages/outbound/src/allowed-hosts.ts';
import type { InferenceTarget } from './inference-target.ts';
import { type KafkaCluster, kafkaPermissions } from './kafka.ts';
import { metricsEnvironment } from './metrics.ts';
import {
  ANYWHERE,
  connect,
  connectOut,
  createGroup,
  type Group,
  type Network,
  reachAws,
  reachCollector,
  reachS3,
  usableZones,
} from './network.ts';
import { type Secrets, secretsGiven } from './secrets.ts';
import { COMMON_VARIABLES, environmentOf, KAFKA_IAM_PORT, title, urlOf } from './settings.ts';
import type { Lambda, Stage } from './stages.ts';
import { objects, type StreamList } from './storage.ts';

/** What a pipeline stage needs where it runs: its row in the table of stages, resolved for this deployment. */

export type Permissions = sst.aws.FunctionPermissionArgs[];
export type Environment = Record<string, $util.Input<string>>;

/** What the resources of a pipeline stage are created from. */
export interface Parts {
  stage: Stage;
  network: Network;
  kafka: KafkaCluster;
  store: sst.aws.Bucket;
  inference: InferenceTarget;
  list: StreamList;
}

/** The work of a pipeline stage, as a Lambda function or as tasks. */
export type StageFunction = ReturnType<typeof specify>;

/**
 * Resolves the needs of a pipeline stage, and allows its connections: every stage reaches S3 and the collector.
 * @param step the stage of the pipeline; in this folder `stage` alone is a stage on AWS
 */
export function specify(parts: Parts, step: PipelineStage, size: Lambda) {
  const { stage, network, kafka, store } = parts;
  const { settings } = stage;
  const name = title(step.name);
  const group = createGroup(network.vpc, name);
  reachS3(network, group);
  reachCollector(stage, group);
  const [topic, consumerGroup] = [topicOf(step, settings), groupOf(step, settings)];
  const { alsoReads = [], writes = [], getsObjects = [], putsObjects = [] } = step.lambda;
  const { needs = [], needsForEvents = [], environment = [], receivers = [] } = step.lambda;
  const needed = new Set([...needs, ...(settings.STORE === 'events' ? needsForEvents : [])]);
  const met = [
    ...[...needed].map((need) => NEEDS[need](parts, group)),
    ...receivers.map((receiver) => reach(receiver, group)),
  ];
  const secrets: Secrets = Object.assign({}, ...met.map((one) => one.secrets));
  if (Object.keys(secrets).length > 0) reachAws(network, group);
  const topics = (names: typeof alsoReads) => names.map((variable) => settings[variable]);
  const folders = (names: typeof putsObjects) =>
    names.map((folder) => `${folder === 'S3_PREFIX' ? settings.S3_PREFIX : folder}/*`);
  return {
    /** Name of its resources: the stage's name with a capital first letter. */
    name,
    step,
    size,
    topic,
    consumerGroup,
    group,
    secrets,
    environment: {
      ...environmentOf(stage, COMMON_VARIABLES),
      ...metricsEnvironment(stage),
      ...Object.assign({}, ...met.map((one) => one.environment)),
      S3_BUCKET: store.name,
      ...environmentOf(stage, environment),
    } as Environment,
    permissions: [
      ...kafkaPermissions(kafka, {
        read: [topic, ...topics(alsoReads)],
        groups: [consumerGroup],
        write: topics(writes),
      }),
      objects(store, 's3:GetObject', [...folders(getsObjects), `failed/${step.name}/*`]),
      objects(store, 's3:PutObject', [...folders(putsObjects), `failed/${step.name}/*`]),
      ...met.flatMap((one) => one.permissions ?? []),
    ],
  };
}

interface Met {
  environment?: Environment;
  secrets?: Secrets;
  permissions?: Permissions;
}

/** Environment and permissions for each need of a pipeline stage. Each entry also allows the group's connections. */
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
};

/** The variables and secrets of a receiver that the deploying shell names. Allows connections to its port. */
function reach(receiver: Receiver, group: Group): Met {
  const to = urlOf(receiver);
  if (!to) return {};
  connectOut(group, ANYWHERE, portOf(to));
  const { url, plain = [], secrets = [] } = receiver;
  const shown = [url, ...plain].filter((name) => !secrets.includes(name));
  return {
    environment: environmentOf({ settings: readConfig(shown) }, shown),
    secrets: secretsGiven(secrets),
  };
}

export function kafkaEnvironment(stage: Stage, kafka: KafkaCluster) {
  return {
    KAFKA_BOOTSTRAP_SERVERS: kafka.bootstrapServers,
    KAFKA_AUTH: 'iam',
    ...environmentOf(stage, ['KAFKA_TOPIC', 'KAFKA_DETECTIONS_TOPIC', 'KAFKA_EVENTS_TOPIC', 'PICTURES']),
  };
}

/**
 * The brokers' racks by zone, for a task that finds its own zone. MSK names its racks after the ids of zones. Their
 * names differ by account.
 * @see https://docs.aws.amazon.com/msk/latest/developerguide/bestpractices.html
 */
export function nearestRack({ network }: Stage): { KAFKA_RACK?: $util.Input<string> } {
  if (!network.zonal) return {};
  const zones = usableZones();
  const KAFKA_RACK = $resolve([zones.names, zones.zoneIds]).apply(([names, ids]) =>
    names.map((name, index) => `${name}=${ids[index]}`).join(),
  );
  return { KAFKA_RACK };
}

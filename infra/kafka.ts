import { HOUR_MS } from '@video-pipeline/frame';
import { topicsOf } from '@video-pipeline/stages';
import { MAX_MESSAGE_BYTES } from '../packages/kafka/src/topics.ts';
import { keepDeliveredLogs } from './logs.ts';
import {
  acceptTunnel,
  connect,
  createGroup,
  type Group,
  type Network,
  reachAws,
  reachS3,
} from './network.ts';
import { KAFKA_IAM_PORT } from './settings.ts';
import type { Stage } from './stages.ts';
import { kafkaVersionOf } from './versions.ts';

/** Used share of the brokers' volumes above which MSK enlarges them. */
const STORAGE_TARGET_PERCENT = 60;

const PROPERTIES = `auto.create.topics.enable=false
message.max.bytes=${MAX_MESSAGE_BYTES}`;
/**
 * Express brokers replicate by themselves and refuse these. A replica that lacks records never becomes a leader: MSK's own
 * default allows it. The last one lets consumers read in their own zone.
 */
const PROVISIONED_PROPERTIES = `${PROPERTIES}
replica.fetch.max.bytes=${MAX_MESSAGE_BYTES}
unclean.leader.election.enable=false
replica.selector.class=org.apache.kafka.common.replica.RackAwareReplicaSelector`;

export type KafkaCluster = ReturnType<typeof createKafka>;

/** MSK, with IAM authentication over TLS only, and its topics. */
export function createKafka(stage: Stage, network: Network) {
  const group = createGroup(network.vpc, 'Kafka');
  // A mapping's pollers run in the cluster's subnets and group: they must reach the brokers, Lambda, STS and S3.
  connect(group, group, KAFKA_IAM_PORT);
  reachAws(network, group);
  reachS3(network, group);
  acceptTunnel(network, stage, group, KAFKA_IAM_PORT);

  const cluster = createCluster(stage, network, group);
  return { ...cluster, group, topics: createTopics(stage, cluster.arn) };
}

function createCluster(stage: Stage, network: Network, group: Group) {
  const { kafka } = stage;
  const name = `${$app.name}-${$app.stage}`;
  const configuration = new aws.msk.Configuration('KafkaConfiguration', {
    // No Kafka versions: an upgrade would have to replace the configuration under the same name.
    name,
    serverProperties: kafka.kind === 'express' ? PROPERTIES : PROVISIONED_PROPERTIES,
  });
  const logs = keepDeliveredLogs(stage, 'KafkaLogs', `msk/${name}`);
  const cluster = new aws.msk.Cluster(
    'KafkaCluster',
    {
      clusterName: name,
      kafkaVersion: kafkaVersionOf(kafka),
      numberOfBrokerNodes: kafka.brokers,
      brokerNodeGroupInfo: {
        instanceType: kafka.instance,
        clientSubnets: network.vpc.privateSubnets,
        securityGroups: [group.id],
        // Express brokers have their own storage.
        ...(kafka.kind === 'provisioned' && {
          storageInfo: { ebsStorageInfo: { volumeSize: kafka.volumeGb } },
        }),
      },
      clientAuthentication: { sasl: { iam: true }, unauthenticated: false },
      encryptionInfo: { encryptionInTransit: { clientBroker: 'TLS', inCluster: true } },
      configurationInfo: { arn: configuration.arn, revision: configuration.latestRevision },
      loggingInfo: { brokerLogs: { cloudwatchLogs: { enabled: true, logGroup: logs.name } } },
    },
    // Autoscaling may have enlarged the volumes: they can't be made smaller.
    { ignoreChanges: ['brokerNodeGroupInfo.storageInfo.ebsStorageInfo.volumeSize'] },
  );
  if (kafka.kind === 'provisioned') growStorage(cluster, kafka.volumeGb, kafka.maxVolumeGb);
  return {
    arn: cluster.arn,
    /** Name in CloudWatch's dimensions. */
    clusterName: cluster.clusterName,
    bootstrapServers: cluster.bootstrapBrokersSaslIam,
  };
}

function growStorage(cluster: aws.msk.Cluster, volumeGb: number, maxVolumeGb: number): void {
  const target = new aws.appautoscaling.Target('KafkaStorage', {
    serviceNamespace: 'kafka',
    scalableDimension: 'kafka:broker-storage:VolumeSize',
    resourceId: cluster.arn,
    minCapacity: volumeGb,
    maxCapacity: maxVolumeGb,
  });
  new aws.appautoscaling.Policy('KafkaStoragePolicy', {
    policyType: 'TargetTrackingScaling',
    serviceNamespace: target.serviceNamespace,
    scalableDimension: target.scalableDimension,
    resourceId: target.resourceId,
    targetTrackingScalingPolicyConfiguration: {
      predefinedMetricSpecification: { predefinedMetricType: 'KafkaBrokerStorageUtilization' },
      targetValue: STORAGE_TARGET_PERCENT,
      // MSK can't make a volume smaller.
      disableScaleIn: true,
    },
  });
}

function createTopics({ kafka, settings }: Stage, clusterArn: $util.Output<string>): aws.msk.Topic[] {
  const replicationFactor = kafka.kind === 'provisioned' && kafka.brokers === 2 ? 2 : 3;
  return topicsOf(settings).map(
    (name) =>
      new aws.msk.Topic(`KafkaTopic-${name}`, {
        clusterArn,
        name,
        partitionCount: kafka.partitions,
        replicationFactor,
        configs: JSON.stringify({
          'max.message.bytes': String(MAX_MESSAGE_BYTES),
          // Brokers store batches uncompressed: so a batch is never larger for a mapping's pollers than this limit.
          'compression.type': 'uncompressed',
          // Time by the broker: a record of a host whose clock is hours behind would be deleted, or given up, at once.
          'message.timestamp.type': 'LogAppendTime',
          'retention.ms': String(kafka.retentionHours * HOUR_MS),
          // Express brokers have their own value, two, and protect it.
          ...(kafka.kind === 'provisioned' && { 'min.insync.replicas': String(replicationFactor - 1) }),
        }),
      }),
  );
}

interface KafkaAccess {
  /** Topics to consume. `groups` are the consumer groups. */
  read?: string[];
  groups?: string[];
  /** Topics and consumer groups whose offsets are read. */
  watch?: { topics?: string[]; groups: string[] } | undefined;
  /** Topics to produce to. */
  write?: string[];
  /** Whether the producer is idempotent. */
  idempotent?: boolean;
}

/** @returns IAM statements that allow a role to connect to MSK, and to consume or produce as in `access` */
export function kafkaPermissions(
  cluster: KafkaCluster,
  access: KafkaAccess,
): sst.aws.FunctionPermissionArgs[] {
  const { read = [], groups = [], watch, write = [], idempotent = false } = access;
  const arns = (kind: 'topic' | 'group', names: string[]) =>
    names.map((name) => kafkaArn(cluster, kind, name));
  return [
    kafkaStatement(
      [cluster.arn],
      'Connect',
      ...(read.length > 0 ? ['DescribeClusterDynamicConfiguration'] : []),
      ...(idempotent ? ['WriteDataIdempotently'] : []),
    ),
    kafkaStatement(arns('topic', read), 'DescribeTopic', 'ReadData'),
    kafkaStatement(arns('group', groups), 'DescribeGroup', 'AlterGroup'),
    kafkaStatement(arns('topic', watch?.topics ?? []), 'DescribeTopic'),
    kafkaStatement(arns('group', watch?.groups ?? []), 'DescribeGroup'),
    kafkaStatement(arns('topic', write), 'DescribeTopic', 'WriteData'),
  ].filter(({ resources }) => resources.length > 0);
}

function kafkaStatement(resources: $util.Output<string>[], ...actions: string[]) {
  return { actions: actions.map((action) => `kafka-cluster:${action}`), resources };
}

/** arn:...:cluster/name/uuid names the cluster; its topics are arn:...:topic/name/uuid/topic, its groups likewise. */
function kafkaArn(cluster: KafkaCluster, kind: 'topic' | 'group', name: string): $util.Output<string> {
  return cluster.arn.apply((arn) => `${arn.replace(':cluster/', `:${kind}/`)}/${name}`);
}

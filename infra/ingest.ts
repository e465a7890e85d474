import { frameStagesOf, groupOf, topicOf } from '@video-pipeline/stages';
import { type Camera, cameraConnections, chunk } from './cameras.ts';
import { createCluster, createService } from './ecs.ts';
import { createHosts } from './hosts.ts';
import { createImage } from './images.ts';
import { kafkaPermissions } from './kafka.ts';
import { logGroupName } from './logs.ts';
import { metricsEnvironment } from './metrics.ts';
import {
  connect,
  connectOut,
  createGroup,
  type Group,
  reachAws,
  reachCollector,
  reachS3,
} from './network.ts';
import { createSecret } from './secrets.ts';
import { deployment, environmentOf, INGEST_VARIABLES, KAFKA_IAM_PORT } from './settings.ts';
import { kafkaEnvironment, nearestRack, type Parts } from './stage-function.ts';
import { type Stage, TASKS } from './stages.ts';

const CLUSTER = 'IngestCluster';
const RTSP_PORT = 8554;
const TEST_CAMERA: Camera = { id: 'test-camera', url: '' };

type Where = Pick<Parts, 'stage' | 'network' | 'kafka'>;

/**
 * ECS services that read the cameras and publish their frames, with `streamsPerTask` cameras in each task.
 * @returns ids of the streams to raise alarms about, and the names of the log groups
 */
export function createIngest(parts: Where, cameras: Camera[]) {
  const { stage, network, kafka } = parts;
  const group = createGroup(network.vpc, 'Ingest');
  connect(group, kafka.group, KAFKA_IAM_PORT);
  reachCollector(stage, group);
  for (const { cidr, port, protocol } of cameraConnections(stage, cameras))
    connectOut(group, cidr, port, protocol);

  const clusterName = `${$app.name}-${$app.stage}-ingest`;
  const hosts =
    stage.ingest.capacity === 'ec2' && !$dev
      ? createHosts(stage, network, stage.ingest, clusterName)
      : undefined;
  if (hosts) useCapacity(hosts);
  else {
    // On Fargate the task's own interface pulls the image, reads the secret and writes the log.
    reachAws(network, group);
    reachS3(network, group);
  }
  const cluster = createCluster(network, group, { name: CLUSTER, clusterName });
  const test = stage.ingest.testCamera && !$dev ? [createTestCamera(parts, cluster, group)] : [];
  const image = $dev ? undefined : createImage('ingest', 'ingest-host/Dockerfile', deployment().INGEST_IMAGE);

  const shards = $dev ? [[LOCAL_CAMERA]] : chunk([...cameras, ...test], stage.ingest.streamsPerTask);
  const logGroups = shards.map((streams, index) =>
    createTask({ ...parts, cluster, hosts, image, streams, name: `Ingest${index + 1}` }),
  );
  // No alarm for a disabled stream: it is silent on purpose. Nor in `sst dev`: CloudWatch gets no metrics from there.
  const watched = $dev ? [] : shards.flat().filter(({ disabled }) => !disabled);
  return { streams: watched.map(({ id }) => id), logGroups };
}

/** The simulated camera that `sst dev` starts. */
const LOCAL_CAMERA: Camera = { id: 'local-camera', url: `rtsp://127.0.0.1:${RTSP_PORT}/camera` };

/** Adds the instances to the cluster's capacity providers, for which SST has no option. */
function useCapacity(hosts: aws.ecs.CapacityProvider): void {
  $transform(aws.ecs.ClusterCapacityProviders, (args, _options, name) => {
    if (!name.startsWith(CLUSTER)) return;
    args.capacityProviders = ['FARGATE', 'FARGATE_SPOT', hosts.name];
  });
}

interface Task extends Where {
  name: string;
  cluster: sst.aws.Cluster;
  hosts: aws.ecs.CapacityProvider | undefined;
  image: $util.Output<string> | undefined;
  streams: Camera[];
}

function createTask({ stage, kafka, name, cluster, hosts, image, streams }: Task): string {
  const logs = logGroupName(name.toLowerCase());
  // Without scenes, which only detect uses: a changed zone then restarts no task, and the list fits a secret's 64 KB.
  const list = JSON.stringify(streams.map(({ scene: _, ...camera }) => camera));
  // Cameras' addresses hold their passwords, so the whole list is a secret.
  const STREAMS = createSecret(`${name}Streams`, { path: `${name.toLowerCase()}/streams`, value: list });
  const thins = stage.settings.MAX_LATENCY_SECONDS > 0;
  createService(name, {
    stage,
    logs,
    cluster,
    wait: true,
    after: kafka.topics,
    cpu: stage.ingest.cpu,
    memory: stage.ingest.memory,
    spot: stage.ingest.capacity === 'spot',
    image: image ?? '',
    secrets: { STREAMS },
    environment: {
      ...kafkaEnvironment(stage, kafka),
      ...nearestRack(stage),
      ...environmentOf(stage, INGEST_VARIABLES),
      ...(thins && environmentOf(stage, ['KAFKA_GROUP_ID', 'BATCH_SIZE', 'BATCH_TIMEOUT_SECONDS'])),
      ...metricsEnvironment(stage),
      AWS_REGION: aws.getRegionOutput().region,
      ...($dev && { STREAMS: list }),
    },
    health: { command: ['CMD', 'node', '-e', alive(stage.settings.HEALTH_PORT)], startPeriod: '60 seconds' },
    dev: { command: 'node ingest-host/src/main.ts' },
    permissions: kafkaPermissions(kafka, {
      write: [stage.settings.KAFKA_TOPIC],
      idempotent: true,
      watch: thins ? watchedStages(stage) : undefined,
    }),
    changeTask: (args) => {
      if (hosts) args.requiresCompatibilities = ['EC2'];
    },
    changeService: (args) => {
      // The old task ends before the new one starts: two tasks on one camera would publish each picture twice, and
      // many cameras refuse a second session. Each camera gives no pictures for about a minute.
      args.deploymentMinimumHealthyPercent = 0;
      args.deploymentMaximumPercent = 100;
      if (hosts) placeOn(hosts, args);
    },
  });
  return logs;
}

/** Topics and consumer groups whose lag ingest reads: with MAX_LATENCY_SECONDS it thins frames by their lag. */
function watchedStages({ settings }: Stage) {
  return {
    topics: frameStagesOf(settings).map((stage) => topicOf(stage, settings)),
    groups: frameStagesOf(settings).map((stage) => groupOf(stage, settings)),
  };
}

function placeOn(hosts: aws.ecs.CapacityProvider, args: aws.ecs.ServiceArgs): void {
  delete args.launchType;
  args.capacityProviderStrategies = [{ capacityProvider: hosts.name, weight: 1 }];
  args.forceNewDeployment = true;
  // On as few instances as possible.
  args.orderedPlacementStrategies = [{ type: 'binpack', field: 'memory' }];
}

/** Checks only whether the process answers: one lost camera must not restart the task of the others. */
const alive = (port: number) =>
  `fetch('http://127.0.0.1:${port}/health').then(() => process.exit(0), () => process.exit(1))`;

/** A camera for tests: MediaMTX plays a clip in a loop. It gives frames before the first real camera is connected. */
function createTestCamera({ stage, network }: Where, cluster: sst.aws.Cluster, ingest: Group): Camera {
  const group = createGroup(network.vpc, 'TestCamera');
  connect(ingest, group, RTSP_PORT);
  reachAws(network, group);
  reachS3(network, group);
  createService('TestCamera', {
    stage,
    logs: logGroupName('test-camera'),
    cluster,
    ...TASKS.testCamera,
    spot: true,
    image: createImage('camera', 'infra/test-camera/Dockerfile'),
    changeService: (args) => {
      args.networkConfiguration = { subnets: network.vpc.privateSubnets, securityGroups: [group.id] };
    },
  });
  // The name that SST registers in Cloud Map for a service.
  return { ...TEST_CAMERA, url: `rtsp://TestCamera.${stage.name}.${$app.name}.sst:${RTSP_PORT}/camera` };
}

import { type Camera, chunk } from './cameras.ts';
import { kafkaEnvironment } from './functions.ts';
import { createImage } from './images.ts';
import { type KafkaCluster, kafkaPermissions } from './kafka.ts';
import { logGroupName } from './logs.ts';
import {
  connect,
  connectOut,
  createGroup,
  type createNetwork,
  type Group,
  reachAws,
  reachS3,
} from './network.ts';
import { deployment, KAFKA_IAM_PORT, pipeline } from './settings.ts';
import type { Stage } from './stages.ts';

const RTSP_PORT = 8554;
const CAMERA_PORTS = [554, RTSP_PORT];
const TEST_CAMERA: Camera = { id: 'test-camera', url: '' };

interface Parts {
  stage: Stage;
  network: ReturnType<typeof createNetwork>;
  kafka: KafkaCluster;
}

/**
 * ECS services that read the cameras, `streamsPerTask` of them a task, and publish their frames.
 * @returns ids of the streams, and the names of the log groups
 */
export function createIngest(parts: Parts, cameras: Camera[]) {
  const { stage, network, kafka } = parts;
  const group = createGroup(network.vpc, 'Ingest');
  connect(group, kafka.group, KAFKA_IAM_PORT);
  reachAws(network, group);
  reachS3(network, group);
  for (const cidr of stage.ingest.cameraCidrs) for (const port of CAMERA_PORTS) connectOut(group, cidr, port);

  const cluster = createCluster(network, group);
  const { INGEST_IMAGE } = deployment();
  const test = stage.ingest.testCamera && !$dev ? [createTestCamera(parts, cluster, group)] : [];
  const image = $dev
    ? undefined
    : createImage({
        name: 'ingest',
        dockerfile: 'ingest-host/Dockerfile',
        platform: 'linux/arm64',
        prebuilt: INGEST_IMAGE,
      });

  const shards = $dev ? [[LOCAL_CAMERA]] : chunk([...cameras, ...test], stage.ingest.streamsPerTask);
  const logGroups = shards.map((streams, index) =>
    createTask({ ...parts, cluster, image, streams, name: `Ingest${index + 1}` }),
  );
  return { streams: shards.flat().map(({ id }) => id), logGroups };
}

/** The simulated camera that `sst dev` starts. */
const LOCAL_CAMERA: Camera = { id: 'local-camera', url: `rtsp://127.0.0.1:${RTSP_PORT}/camera` };

function createCluster(network: ReturnType<typeof createNetwork>, group: Group): sst.aws.Cluster {
  const { cloudmapNamespace } = network.vpc.nodes;
  return new sst.aws.Cluster('IngestCluster', {
    vpc: {
      id: network.vpc.id,
      securityGroups: [group.id],
      containerSubnets: network.vpc.privateSubnets,
      loadBalancerSubnets: network.vpc.privateSubnets,
      cloudmapNamespaceId: cloudmapNamespace.id,
      cloudmapNamespaceName: cloudmapNamespace.name,
    },
  });
}

interface Task extends Parts {
  name: string;
  cluster: sst.aws.Cluster;
  image: $util.Output<string> | undefined;
  streams: Camera[];
}

function createTask({ stage, kafka, name, cluster, image, streams }: Task): string {
  const logs = logGroupName(name.toLowerCase());
  const list = JSON.stringify(streams);
  // Cameras' addresses hold their passwords, so the whole list is a secret.
  const secret = new aws.secretsmanager.Secret(`${name}Streams`, {
    name: `${$app.name}/${$app.stage}/${name.toLowerCase()}/streams`,
    recoveryWindowInDays: stage.protect ? 30 : 0,
  });
  const version = new aws.secretsmanager.SecretVersion(`${name}StreamsVersion`, {
    secretId: secret.id,
    secretString: $util.secret(list),
  });
  new sst.aws.Service(name, {
    cluster,
    architecture: 'arm64',
    cpu: stage.ingest.cpu,
    memory: stage.ingest.memory,
    capacity: stage.ingest.capacity === 'spot' ? 'spot' : undefined,
    image: image ?? '',
    logging: { name: logs, retention: stage.logRetention },
    // By version, so that a changed list starts a new task.
    ssm: { STREAMS: $interpolate`${secret.arn}:::${version.versionId}` },
    environment: {
      ...kafkaEnvironment(kafka),
      FRAME_RATE: String(pipeline.FRAME_RATE),
      MAX_FRAME_BYTES: String(stage.functions.maxFrameBytes ?? pipeline.MAX_FRAME_BYTES),
      HEALTH_PORT: String(pipeline.HEALTH_PORT),
      LOG_LEVEL: 'INFO',
      AWS_REGION: aws.getRegionOutput().region,
      ...($dev && { STREAMS: list }),
    },
    health: { command: ['CMD', 'node', '-e', ALIVE], startPeriod: '60 seconds' },
    dev: { command: 'node ingest-host/src/main.ts' },
    transform: {
      ...narrowRoles(logs, [secret.arn]),
      taskRole: {
        inlinePolicies: [
          inline(kafkaPermissions(kafka, { write: [pipeline.KAFKA_TOPIC], idempotent: true })),
        ],
      },
      service: { enableExecuteCommand: false },
    },
  });
  return logs;
}

/** Whether the process answers at all: a camera that is gone is no reason to restart the others' task. */
const ALIVE = `fetch('http://127.0.0.1:${pipeline.HEALTH_PORT}/health').then(() => process.exit(0), () => process.exit(1))`;

/** MediaMTX plays a clip in a loop: frames to look at before the first real camera is there. */
function createTestCamera({ stage, network }: Parts, cluster: sst.aws.Cluster, ingest: Group): Camera {
  const group = createGroup(network.vpc, 'TestCamera');
  connect(ingest, group, RTSP_PORT);
  reachAws(network, group);
  reachS3(network, group);
  const logs = logGroupName('test-camera');
  new sst.aws.Service('TestCamera', {
    cluster,
    architecture: 'arm64',
    cpu: '0.25 vCPU',
    memory: '0.5 GB',
    capacity: 'spot',
    image: createImage({
      name: 'camera',
      dockerfile: 'infra/test-camera/Dockerfile',
      platform: 'linux/arm64',
    }),
    logging: { name: logs, retention: stage.logRetention },
    transform: {
      ...narrowRoles(logs, []),
      taskRole: { inlinePolicies: [] },
      service: (args) => {
        args.enableExecuteCommand = false;
        args.networkConfiguration = { subnets: network.vpc.privateSubnets, securityGroups: [group.id] };
      },
    },
  });
  // The name that SST registers in Cloud Map for a service.
  return { ...TEST_CAMERA, url: `rtsp://TestCamera.${stage.name}.${$app.name}.sst:${RTSP_PORT}/camera` };
}

function inline(statements: sst.aws.FunctionPermissionArgs[]) {
  return { name: 'inline', policy: aws.iam.getPolicyDocumentOutput({ statements: statements as any }).json };
}

/** What ECS itself may do to start a task. SST's own allows every parameter and secret, and any log group. */
function narrowRoles(logs: string, secrets: $util.Output<string>[]) {
  const here = $interpolate`${aws.getRegionOutput().region}:${aws.getCallerIdentityOutput().accountId}`;
  const statements = [
    // A registry token has no narrower resource.
    { actions: ['ecr:GetAuthorizationToken'], resources: ['*'] },
    {
      actions: ['ecr:BatchCheckLayerAvailability', 'ecr:BatchGetImage', 'ecr:GetDownloadUrlForLayer'],
      resources: [$interpolate`arn:aws:ecr:${here}:repository/${$app.name}/*`],
    },
    {
      actions: ['logs:CreateLogStream', 'logs:PutLogEvents'],
      resources: [$interpolate`arn:aws:logs:${here}:log-group:${logs}:*`],
    },
    { actions: ['secretsmanager:GetSecretValue'], resources: secrets },
  ].filter(({ resources }) => resources.length > 0);
  return { executionRole: { managedPolicyArns: [], inlinePolicies: [inline(statements)] } };
}

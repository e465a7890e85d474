import { ConfigError } from '@video-pipeline/config';
import {
  isConfigured,
  isMerged,
  type PipelineStage,
  STAGES,
  type StageName,
  stagesOf,
} from '@video-pipeline/stages';
import { MIN_EXPIRE_DAYS } from '../packages/tables/src/schema.ts';
import { environmentOf, settingsOf } from './settings.ts';
import type { Lambda, Row, Stage } from './stage.ts';

export * from './stage.ts';

/** The differences between stages on AWS, one row for each. No other code in infra/ depends on a stage's name. */

const production: Row = {
  removal: 'retain',
  protect: true,
  network: { zones: 3, nat: 'managed', endpoints: true, tunnel: false },
  kafka: {
    kind: 'provisioned',
    instance: 'kafka.m7g.large',
    brokers: 3,
    volumeGb: 1000,
    maxVolumeGb: 4000,
    partitions: 24,
    retentionHours: 6,
  },
  inference: {
    backend: 'eks',
    gpu: { families: ['g6', 'g5'], capacity: ['on-demand'] },
    replicas: { min: 2, max: 8 },
    autoscaler: 'keda',
  },
  functions: { pollers: { min: 2, max: 12 } },
  ingest: {
    cpu: '2 vCPU',
    memory: '4 GB',
    streamsPerTask: 10,
    capacity: 'fargate',
    cameraCidrs: ['10.64.0.0/10'],
    testCamera: false,
  },
  store: { versioning: true, annotatedDays: 30, clipDays: 90, failedDays: 90 },
  logRetention: '1 month',
  load: { streams: 20, frameKb: 60, cameraHours: 730, stageHours: 730 },
};

const staging: Row = {
  removal: 'remove',
  protect: false,
  network: { zones: 2, nat: 'managed', endpoints: true, tunnel: false },
  kafka: {
    kind: 'provisioned',
    instance: 'kafka.t3.small',
    brokers: 2,
    volumeGb: 100,
    maxVolumeGb: 300,
    partitions: 6,
    retentionHours: 4,
  },
  inference: {
    backend: 'eks',
    gpu: { families: ['g6', 'g5'], capacity: ['spot', 'on-demand'] },
    replicas: { min: 0, max: 2 },
    hours: { timezone: 'Etc/UTC', start: '0 7 * * 1-5', end: '0 19 * * 1-5' },
    autoscaler: 'keda',
  },
  functions: {},
  ingest: {
    cpu: '1 vCPU',
    memory: '2 GB',
    streamsPerTask: 5,
    capacity: 'spot',
    cameraCidrs: [],
    testCamera: true,
  },
  store: { versioning: false, annotatedDays: 30, clipDays: 30, failedDays: 90 },
  logRetention: '1 week',
  load: { streams: 1, frameKb: 60, cameraHours: 730, stageHours: 730 },
};

/** The stage of a developer or pull request. `sst remove` deletes all of it. It has no GPU, and is cheap when idle. */
const personal: Row = {
  removal: 'remove',
  protect: false,
  network: { zones: 2, nat: 'ec2', endpoints: false, tunnel: true },
  kafka: {
    kind: 'provisioned',
    instance: 'kafka.t3.small',
    brokers: 2,
    volumeGb: 20,
    maxVolumeGb: 50,
    partitions: 2,
    retentionHours: 2,
  },
  // 3072 is AWS's limit for a new account, and seven times what the default model needs.
  inference: { backend: 'sagemaker-serverless', memoryMb: 3072, maxConcurrency: 2 },
  functions: {
    detect: { memoryMb: 512, timeoutSeconds: 120 },
  },
  // SageMaker serverless accepts 4 MB a request; 25 frames of this size with their framing are 3 MB.
  settings: { MAX_FRAME_BYTES: 120_000 },
  ingest: {
    cpu: '0.5 vCPU',
    memory: '1 GB',
    streamsPerTask: 5,
    capacity: 'spot',
    cameraCidrs: [],
    testCamera: true,
  },
  store: { versioning: false, annotatedDays: 7, clipDays: 7, failedDays: 30 },
  logRetention: '1 week',
  load: { streams: 1, frameKb: 60, cameraHours: 40, stageHours: 40 },
};

/** The stages that have a row of their own; every other name is a personal stage. */
export const rows: Record<string, Row> = { production, staging };

/**
 * Defaults of a stage with GPUs. With `cuda`, a server that finds no GPU exits with the reason: with `auto` it would
 * serve a hundredth of the frames on the CPU, and look healthy. The queue is longer, since a GPU empties it faster.
 */
const ON_GPU = { INFERENCE_DEVICE: 'cuda', MAX_QUEUED_FRAMES: 4096 } as const;
const rentsGpu = ({ inference }: Pick<Row, 'inference'>) => inference.backend !== 'sagemaker-serverless';

/**
 * Names that ECR accepts in a repository. With a longer one SST would cut the app's name in the names of roles, to stay
 * within IAM's 64 characters. A deploy role may create only roles whose names begin with the app's (docs/iam).
 */
const STAGE_NAME = /^(?=.{1,16}$)[a-z0-9]+(-[a-z0-9]+)*$/;

/** @throws ConfigError when a name, a number of days or a setting can't be used */
export function stageOf(name: string): Stage {
  if (!STAGE_NAME.test(name))
    throw new ConfigError(
      `stage '${name}': its name must be lower-case letters, digits and single hyphens, 16 at most (--stage)`,
    );
  const own = Object.hasOwn(rows, name) ? rows[name] : undefined;
  const row = own ?? personal;
  const { ndjsonDays = MIN_EXPIRE_DAYS } = row.store;
  if (!(ndjsonDays >= MIN_EXPIRE_DAYS))
    throw new ConfigError(
      `stage '${name}': store.ndjsonDays must be ${MIN_EXPIRE_DAYS} or more, not ${ndjsonDays} (infra/stages.ts)`,
    );
  const settings = settingsOf({ ...(rentsGpu(row) && ON_GPU), ...row.settings });
  return {
    ...row,
    name,
    tags: { app: 'video-pipeline', stage: name, environment: own ? name : 'personal', 'managed-by': 'sst' },
    settings,
    load: { ...row.load, frameRate: settings.FRAME_RATE },
  };
}

/** Size of a pipeline stage's Lambda function; `undefined` if the stage isn't deployed. */
export function lambdaOf({ functions, settings }: Stage, step: PipelineStage): Lambda | undefined {
  const { enabledBy } = step;
  // The deploy itself creates the bus, and sets its variable.
  const isAsked =
    !enabledBy ||
    step.lambda.needs?.includes('bus') ||
    isConfigured(step, { ...process.env, ...environmentOf({ settings }, enabledBy) });
  return isAsked ? (functions[step.name as StageName] ?? step.lambda) : undefined;
}

/** Size of a pipeline stage's own function: it also needs the memory of the stages that run within it. */
function sizeOf(stage: Stage, step: PipelineStage): Lambda | undefined {
  const own = lambdaOf(stage, step);
  if (!own) return undefined;
  const inner = STAGES.filter((one) => one.mergedInto === step.name && isMerged(one, stage.settings));
  const sizes = [own, ...inner.map((one) => lambdaOf(stage, one) ?? own)];
  const most = (name: keyof Lambda) => Math.max(...sizes.map((size) => size[name]));
  return { memoryMb: most('memoryMb'), timeoutSeconds: most('timeoutSeconds') };
}

/** The pipeline stages that have their own Lambda function in this stage, with their sizes. */
export function deployedStages(stage: Stage) {
  return stagesOf(stage.settings).flatMap((step) => {
    const size = sizeOf(stage, step);
    return size ? [{ step, size }] : [];
  });
}

export function runsAsTasks({ functions }: Stage, { carriesFrames }: PipelineStage): boolean {
  return carriesFrames && functions.workers !== undefined;
}

/** Whether the bastion is an instance of its own. With NAT instances, the first of them is the bastion. */
export const hasBastion = ({ nat, tunnel }: Stage['network']) => tunnel && nat === 'managed';

/** Whether many pictures are one object. */
export const isPacked = (store: Stage['settings']['STORE']) => store === 'archive' || store === 'video';

/** Attempts at a batch, Lambda's maximum: with an attempt every two seconds, five and a half hours. */
export const MAX_RETRIES = 10_000;
/** Age at which Lambda or a task gives a record up: half an hour before Kafka deletes it. */
export const maxRecordAgeSeconds = ({ kafka }: Stage) => kafka.retentionHours * 3600 - 1800;

/** Memory of a pipeline stage's function, MB; 0 if it has no function of its own. */
export function memoryOf(stage: Stage, name: StageName): number {
  const step = stagesOf(stage.settings).find((one) => one.name === name);
  return (step && sizeOf(stage, step)?.memoryMb) ?? 0;
}

/** Names of the pipeline's stages that are deployed as functions. */
export const functionsOf = (stage: Stage): string[] =>
  deployedStages(stage).flatMap(({ step }) => (runsAsTasks(stage, step) ? [] : [step.name]));

/** Dockerfile of the model server: with CUDA only where the stage rents GPUs. */
export function modelDockerfile(stage: Stage): string {
  return rentsGpu(stage) ? 'model/Dockerfile.cuda' : 'model/Dockerfile';
}

/** AWS APIs that private subnets call. A mapping's pollers run in Kafka's subnets and need `lambda` and `sts`. */
const INTERFACE_ENDPOINTS = ['lambda', 'sts', 'ecr.api', 'ecr.dkr', 'events', 'logs', 'secretsmanager'];
/** Further APIs that the agent of an EC2 instance calls. */
const ECS_ENDPOINTS = ['ecs', 'ecs-agent', 'ecs-telemetry'];

/** The AWS APIs that a stage's private subnets reach by interface endpoints. */
export function endpointsOf({ network, ingest, inference }: Stage): string[] {
  if (!network.endpoints) return [];
  return [
    ...INTERFACE_ENDPOINTS,
    ...(inference.backend === 'eks' ? [] : ['sagemaker.runtime']),
    ...(ingest.capacity === 'ec2' ? ECS_ENDPOINTS : []),
  ];
}

import {
  isWithin,
  type LambdaDefinition,
  type PipelineStage,
  STAGES,
  type StageName,
  stagesOf,
} from '@video-pipeline/stages';
import { type Given, type Settings, settingsOf } from './settings.ts';

/** The differences between stages on AWS, one row for each. No other code in infra/ depends on a stage's name. */

interface KafkaStorage {
  /** Partitions of each topic. They limit concurrent Lambda invocations, since each partition is processed in order. */
  partitions: number;
  retentionHours: number;
}
/** Sizes of brokers: capacity and price as a multiple of the smallest. */
export const BROKER_SIZES = {
  large: 1,
  xlarge: 2,
  '2xlarge': 4,
  '4xlarge': 8,
  '8xlarge': 16,
  '16xlarge': 32,
};
export type BrokerSize = keyof typeof BROKER_SIZES;
export type Kafka = KafkaStorage & {
  /** Number of brokers: the same in each zone, or two in all. */
  brokers: number;
} & (
    | {
        kind: 'provisioned';
        instance: 'kafka.t3.small' | `kafka.m7g.${BrokerSize}`;
        volumeGb: number;
        maxVolumeGb: number;
      }
    | { kind: 'express'; instance: `express.m7g.${BrokerSize}` }
  );

export type Inference =
  | {
      backend: 'eks';
      gpu: { families: readonly ('g5' | 'g6')[]; capacity: readonly ('spot' | 'on-demand')[] };
      /** Pods with one GPU each. With `min` 0 the pods and their nodes end when no frame waits. */
      replicas: { min: number; max: number };
      /** Hours in which at least one pod runs although `replicas.min` is 0: cron expressions in a time zone. */
      hours?: { timezone: string; start: string; end: string };
      /** `keda`: by CPU and the consumer group's lag. `hpa`: by CPU only, for clusters without KEDA. */
      autoscaler: 'keda' | 'hpa';
    }
  | {
      backend: 'sagemaker';
      instance: 'ml.g5.xlarge' | 'ml.g6.xlarge';
      replicas: { min: number; max: number };
    }
  | {
      backend: 'sagemaker-serverless';
      memoryMb: 1024 | 2048 | 3072 | 4096 | 5120 | 6144;
      maxConcurrency: number;
    };

/** Parts of an hour that are compacted at the same time. The others wait in Lambda's queue. */
export const COMPACTING = 4;

export type Lambda = Pick<LambdaDefinition, 'memoryMb' | 'timeoutSeconds'>;

/** EC2 instances for ingest tasks. Each task needs a network interface, and the instance itself needs one too. */
export interface IngestHosts {
  instance: keyof typeof HOST_SIZES;
  maxInstances: number;
}
export const HOST_SIZES = {
  'm7g.large': { vcpu: 2, memoryGb: 8, interfaces: 3 },
  'm7g.xlarge': { vcpu: 4, memoryGb: 16, interfaces: 4 },
  'm7g.2xlarge': { vcpu: 8, memoryGb: 32, interfaces: 4 },
};

export type Ingest = {
  cpu: '0.5 vCPU' | '1 vCPU' | '2 vCPU' | '4 vCPU';
  memory: `${number} GB`;
  streamsPerTask: number;
  /** Addresses of the cameras. */
  cameraCidrs: readonly string[];
  /** Whether a second service plays a looping clip over RTSP. */
  testCamera: boolean;
} & ({ capacity: 'fargate' | 'spot' } | ({ capacity: 'ec2' } & IngestHosts));

/** The console on AWS: with TLS, from allowed addresses only, after sign-in. */
export interface Console {
  /** Domain name in a public hosted zone of the account: `cameras.example.com`, for example. */
  domain: string;
  /** Addresses that may reach the sign-in page; never all addresses. */
  allowedCidrs: readonly [string, ...string[]];
}

export interface Stage {
  name: string;
  removal: 'remove' | 'retain' | 'retain-all';
  /** Refuses `sst remove`. */
  protect: boolean;
  network: {
    zones: 2 | 3;
    nat: 'ec2' | 'managed';
    /** Interface endpoints for the AWS APIs that private subnets call; without them the calls go through the NAT. */
    endpoints: boolean;
    /** A bastion for `sst tunnel`. */
    tunnel: boolean;
  };
  kafka: Kafka;
  inference: Inference;
  /** Sizes of pipeline stages that differ from the table of stages. A size also deploys an optional stage. */
  functions: Partial<Record<StageName, Lambda>> & {
    /** Provisioned pollers. Only they support bisection of batches and limits for retries. */
    pollers?: { min: number; max: number };
  };
  ingest: Ingest;
  /** Left out, the console runs on an operator's machine only. */
  console?: Console;
  store: {
    versioning: boolean;
    annotatedDays: number;
    clipDays: number;
    failedDays: number;
    /** Days after which NDJSON that is in the tables is deleted, at least 3. Left out, it is kept. */
    ndjsonDays?: number;
  };
  logRetention: '1 week' | '1 month' | '1 year';
  /** Assumed load for the cost estimate and the sizes above. */
  load: {
    streams: number;
    frameRate: number;
    frameKb: number;
    /** Hours a month in which the cameras run, and in which the stage exists. */
    cameraHours: number;
    stageHours: number;
  };
  /** Variables of its processes and mappings, see docs/configuration.md. */
  settings: Settings;
  tags: Record<string, string>;
}

/** A row: a stage without what follows from its name, with only those settings that differ from the defaults. */
export type Row = Omit<Stage, 'name' | 'tags' | 'settings' | 'load'> & {
  settings?: Given;
  load: Omit<Stage['load'], 'frameRate'>;
};

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
  load: { streams: 1, frameKb: 60, cameraHours: 260, stageHours: 730 },
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

/** @throws ConfigError when a setting can't be used */
export function stageOf(name: string): Stage {
  const own = Object.hasOwn(rows, name) ? rows[name] : undefined;
  const row = own ?? personal;
  const settings = settingsOf(row.settings ?? {});
  return {
    ...row,
    name,
    tags: { app: 'video-pipeline', stage: name, environment: own ? name : 'personal', 'managed-by': 'sst' },
    settings,
    load: { ...row.load, frameRate: settings.FRAME_RATE },
  };
}

/** Size of a pipeline stage's Lambda function; `undefined` if the stage isn't deployed. */
export function lambdaOf({ functions }: Stage, of: PipelineStage): Lambda | undefined {
  return functions[of.name as StageName] ?? (of.lambda.onRequest ? undefined : of.lambda);
}

/** The pipeline stages that have their own Lambda function in this stage, with their sizes. */
export function deployedStages(stage: Stage): { of: PipelineStage & { name: StageName }; size: Lambda }[] {
  const inner = STAGES.filter((one) => isWithin(one, stage.settings));
  return stagesOf(stage.settings).flatMap((of) => {
    const own = lambdaOf(stage, of);
    if (!own) return [];
    // It also needs the memory of the stages whose work it does, whatever size its row names.
    const sizes = [of, ...inner.filter(({ within }) => within === of.name)].map(
      (one) => lambdaOf(stage, one) ?? own,
    );
    const most = (name: keyof Lambda) => Math.max(...sizes.map((size) => size[name]));
    return [{ of, size: { memoryMb: most('memoryMb'), timeoutSeconds: most('timeoutSeconds') } }];
  });
}

/** Memory of a pipeline stage's function, MB; 0 if it has no function of its own. */
export function memoryOf(stage: Stage, name: StageName): number {
  return deployedStages(stage).find(({ of }) => of.name === name)?.size.memoryMb ?? 0;
}

/** AWS APIs that private subnets call. A mapping's pollers run in Kafka's subnets and need `lambda` and `sts`. */
const INTERFACE_ENDPOINTS = [
  'lambda',
  'sts',
  'ecr.api',
  'ecr.dkr',
  'events',
  'logs',
  'secretsmanager',
  'sagemaker.runtime',
];
/** Further APIs that the agent of an EC2 instance calls. */
const ECS_ENDPOINTS = ['ecs', 'ecs-agent', 'ecs-telemetry'];

/** The AWS APIs that a stage's private subnets reach by interface endpoints. */
export function endpointsOf({ network, ingest }: Stage): string[] {
  if (!network.endpoints) return [];
  return [...INTERFACE_ENDPOINTS, ...(ingest.capacity === 'ec2' ? ECS_ENDPOINTS : [])];
}

/** Names of the pipeline's stages that are deployed as functions. */
export const functionsOf = (stage: Stage): string[] => deployedStages(stage).map(({ of }) => of.name);

/** Dockerfile of the model server: with CUDA only where the stage rents GPUs. */
export function modelDockerfile({ inference }: Stage): string {
  return inference.backend === 'sagemaker-serverless' ? 'model/Dockerfile' : 'model/Dockerfile.cuda';
}

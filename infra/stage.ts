import type { LambdaDefinition, StageName } from '@video-pipeline/stages';
import type { Given, Settings } from './settings.ts';

/** What a stage on AWS consists of. infra/stages.ts has a row for each. */

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
/** Memory of the compactor, MB. DuckDB gets half of it. The text of an object is in memory while it is read. */
export const COMPACTOR_MB = 3008;
/** Sizes of tasks that are the same in every stage. */
export const TASKS = {
  console: { cpu: '0.5 vCPU', memory: '1 GB' },
  testCamera: { cpu: '0.25 vCPU', memory: '0.5 GB' },
} as const;

export type Lambda = Pick<LambdaDefinition, 'memoryMb' | 'timeoutSeconds'>;

/** Tasks on Fargate that read Kafka as a mapping does, and run the same handlers. */
export interface Workers {
  cpu: '1 vCPU' | '2 vCPU';
  memory: `${number} GB`;
  /** Number of tasks of each stage. ECS adds tasks by their CPU use. */
  tasks: { min: number; max: number };
  capacity: 'fargate' | 'spot';
}
/** Percent of CPU use at which ECS adds a worker's task, and Kubernetes a GPU pod. Every part is planned for it. */
export const CPU_TARGET = 70;

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
    /**
     * Keeps frames in one zone where they can be. Ingest sends to partitions that are led in its own zone, tasks read
     * from the replica in theirs, and the model's load balancer answers each client from the client's zone.
     */
    zonal?: boolean;
    /** A bastion for `sst tunnel`. */
    tunnel: boolean;
  };
  kafka: Kafka;
  inference: Inference;
  /** Sizes of pipeline stages that differ from the table of stages. */
  functions: Partial<Record<StageName, Lambda>> & {
    /** Without it, every pipeline stage is a Lambda function. With it, those that carry frames are tasks. */
    workers?: Workers;
    /** Provisioned pollers. Only they support bisection of batches and limits for retries. */
    pollers?: { min: number; max: number };
  };
  ingest: Ingest;
  /** Without it, the console runs on an operator's machine only. */
  console?: Console;
  store: {
    versioning: boolean;
    annotatedDays: number;
    clipDays: number;
    failedDays: number;
    /** Days after which NDJSON that is in the tables is deleted, at least 3. Without it, NDJSON is kept. */
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

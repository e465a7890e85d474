import { type Config, readConfig, type VariableName } from '@video-pipeline/config';
import type { MetricName } from '@video-pipeline/telemetry';

/** What a Lambda of ours can be given beside its topic and its objects. */
export type Need = 'bus' | 'inference' | 'kafka' | 'mqtt' | 'scenes' | 'webhook';

/** Variables that name a topic. */
export type TopicVariable = 'KAFKA_TOPIC' | 'KAFKA_DETECTIONS_TOPIC' | 'KAFKA_EVENTS_TOPIC';

/** One stage of the pipeline: a Lambda handler that reads a Kafka topic as a consumer group of its own. */
export interface PipelineStage {
  /** In lower case. Its process, Lambda, log group, dimension `service` and folder of `failed/` are called so. */
  name: string;
  /** What it does, for people. */
  does: string;
  /** Module that exports `handler`, from the repository's root. */
  handler: string;
  /** The variable that names the topic it reads. */
  reads: TopicVariable;
  /** What its consumer group has after KAFKA_GROUP_ID. */
  groupSuffix: string;
  /** Whether a frame is done only once this stage has done it: a run waits for it, and the audit looks for it. */
  carriesFrames: boolean;
  /** The stage that does the work of this one where pictures travel once. */
  within?: string;
  /** It runs only where one of these is set, and not to `off`; left out, always. */
  onlyWith?: readonly VariableName[];
  /** Metrics that count what it has done, the most telling one first. */
  counts: readonly MetricName[];
  lambda: LambdaDefinition;
}

/** A stage on AWS. Permission to read its topic, and to write to its folder of `failed/`, goes without saying. */
export interface LambdaDefinition {
  memoryMb: number;
  /** At most 840, as Lambda has it behind Kafka. */
  timeoutSeconds: number;
  /** Deployed only where the row of infra/stages.ts gives it a size. */
  onRequest?: boolean;
  needs?: readonly Need[];
  /** Variables that it is given, beside S3_BUCKET and those of its needs. */
  environment?: readonly VariableName[];
  /** Topics that its handler reads by itself, and that it writes; with the need `kafka`. */
  alsoReads?: readonly TopicVariable[];
  writes?: readonly TopicVariable[];
  /** First folders of the objects that it reads and writes; `S3_PREFIX` stands for that variable's value. */
  getsObjects?: readonly string[];
  putsObjects?: readonly string[];
  /**
   * Packages that can't be bundled, as native code or files, and the dependency of functions or of packages/picture whose
   * version each has.
   */
  install?: Readonly<Record<string, string>>;
  /** The same, where the stage stores video. */
  installForVideo?: Readonly<Record<string, string>>;
  /** What it costs by the event, where it works on events: seconds of its function, requests of S3, megabytes kept. */
  perEvent?: { seconds: number; gets: number; puts: number; keptMb: number };
}

/** Variables that {@link topicOf} and {@link groupOf} need. */
export const STAGE_VARIABLES = [
  'KAFKA_TOPIC',
  'KAFKA_DETECTIONS_TOPIC',
  'KAFKA_EVENTS_TOPIC',
  'KAFKA_GROUP_ID',
  'PICTURES',
] as const;

/** The topic that a stage reads. */
export function topicOf({ reads }: PipelineStage, config: Config<TopicVariable>): string {
  return config[reads];
}

/** The consumer group of a stage. */
export function groupOf({ groupSuffix }: PipelineStage, config: Config<'KAFKA_GROUP_ID'>): string {
  return `${config.KAFKA_GROUP_ID}${groupSuffix}`;
}

/** Whether the work of a stage is another's. */
export function isWithin({ within }: PipelineStage, { PICTURES }: Config<'PICTURES'>): boolean {
  return within !== undefined && PICTURES === 'once';
}

/** A stage that does the work of another, too. */
export function withWorkOf<Stage extends PipelineStage>(stage: Stage, inner: PipelineStage): Stage {
  const [of, more] = [stage.lambda, inner.lambda];
  const both = <Item>(a: readonly Item[] = [], b: readonly Item[] = []) => [...new Set([...a, ...b])];
  return {
    ...stage,
    does: `${stage.does}; ${inner.does}`,
    lambda: {
      ...of,
      memoryMb: Math.max(of.memoryMb, more.memoryMb),
      timeoutSeconds: Math.max(of.timeoutSeconds, more.timeoutSeconds),
      needs: both(of.needs, more.needs),
      environment: both(of.environment, more.environment),
      getsObjects: both(of.getsObjects, more.getsObjects),
      putsObjects: both(of.putsObjects, [...(more.putsObjects ?? []), `failed/${inner.name}`]),
      install: { ...of.install, ...more.install },
      installForVideo: { ...of.installForVideo, ...more.installForVideo },
    },
  };
}

/** Whether a stage is to run where these variables are set. @throws ConfigError */
export function isWanted(stage: PipelineStage, env: NodeJS.ProcessEnv = process.env): boolean {
  if (isWithin(stage, readConfig(['PICTURES'], env))) return false;
  const { onlyWith } = stage;
  if (!onlyWith) return true;
  return Object.values(readConfig(onlyWith, env)).some((value) => value !== undefined && value !== 'off');
}

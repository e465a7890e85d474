import { type Config, readConfig, type VariableName } from '@video-pipeline/config';
import type { MetricName } from '@video-pipeline/telemetry';

/** What a stage's Lambda may need in addition to its topic and its objects. */
export type Need = 'bus' | 'inference' | 'kafka' | 'scenes';

export type TopicVariable = 'KAFKA_TOPIC' | 'KAFKA_DETECTIONS_TOPIC' | 'KAFKA_EVENTS_TOPIC';

/** A receiver outside AWS that a stage sends to: the variable with its URL, and its other variables. */
export interface Receiver {
  url: VariableName;
  plain?: readonly VariableName[];
  /** Kept in Secrets Manager on AWS. `url` may be one of them. `readValue` and `configWithSecrets` read them. */
  secrets?: readonly VariableName[];
}

/** One stage of the pipeline: a Lambda handler that reads a Kafka topic as a consumer group of its own. */
export interface PipelineStage {
  /** In lower case. It names its process, Lambda, log group, metric dimension `service` and folder of `failed/`. */
  name: string;
  /** Its task, for people. */
  does: string;
  /** Module that exports `handler`, from the repository's root. */
  handler: string;
  reads: TopicVariable;
  /** Suffix of its consumer group, after KAFKA_GROUP_ID. Left out: `-<name>`. */
  groupSuffix?: string;
  /** Whether a frame is done only when this stage is done with it. A run then waits for it, and the audit checks it. */
  carriesFrames: boolean;
  /** The stage that also does the work of this one, where PICTURES is `once`. */
  mergedInto?: string;
  /** It runs, and is deployed, only if one of these is set, and not to `off`. Left out: always. */
  enabledBy?: readonly VariableName[];
  /** Metrics that count its work, the most important one first. */
  counts: readonly MetricName[];
  lambda: LambdaDefinition;
}

/** A stage on AWS. Every stage may read its topic, and read and write its folder of `failed/`. */
export interface LambdaDefinition {
  memoryMb: number;
  /** At most 840, Lambda's limit behind Kafka. */
  timeoutSeconds: number;
  needs?: readonly Need[];
  receivers?: readonly Receiver[];
  /** Variables that it gets, besides S3_BUCKET and those of its needs and receivers. */
  environment?: readonly VariableName[];
  /** Topics that its handler itself reads, and that it writes. They require the need `kafka`. */
  alsoReads?: readonly TopicVariable[];
  writes?: readonly TopicVariable[];
  /** Top folders of the objects that it reads and writes; `S3_PREFIX` is replaced by that variable's value. */
  getsObjects?: readonly string[];
  putsObjects?: readonly string[];
  /**
   * Packages that can't be bundled, since they are native code or files. The value is the dependency of functions or of
   * packages/picture that gives the version.
   */
  install?: Readonly<Record<string, string>>;
  /** Further such packages, for a stage that stores video. */
  installForVideo?: Readonly<Record<string, string>>;
  /** Further needs with STORE=events. */
  needsForEvents?: readonly Need[];
  /** Costs for each event, for a stage that works on events: seconds of its function, S3 requests, megabytes stored. */
  perEvent?: { seconds: number; gets: number; puts: number; keptMb: number };
}

/** Variables that {@link topicOf}, {@link groupOf} and {@link isMerged} need. */
export const STAGE_VARIABLES = [
  'KAFKA_TOPIC',
  'KAFKA_DETECTIONS_TOPIC',
  'KAFKA_EVENTS_TOPIC',
  'KAFKA_GROUP_ID',
  'PICTURES',
] as const;

export function topicOf({ reads }: PipelineStage, config: Config<TopicVariable>): string {
  return config[reads];
}

export function groupOf(
  { name, groupSuffix = `-${name}` }: PipelineStage,
  config: Config<'KAFKA_GROUP_ID'>,
): string {
  return `${config.KAFKA_GROUP_ID}${groupSuffix}`;
}

/** Whether another stage does the work of this one. */
export function isMerged({ mergedInto }: PipelineStage, { PICTURES }: Config<'PICTURES'>): boolean {
  return mergedInto !== undefined && PICTURES === 'once';
}

/** The definition of a stage that also does the work of `inner`. */
export function mergeStages<Stage extends PipelineStage>(stage: Stage, inner: PipelineStage): Stage {
  const [of, more] = [stage.lambda, inner.lambda];
  const both = <Item>(a: readonly Item[] = [], b: readonly Item[] = []) => [...new Set([...a, ...b])];
  const failed = `failed/${inner.name}` as const;
  return {
    ...stage,
    does: `${stage.does}; ${inner.does}`,
    lambda: {
      ...of,
      memoryMb: Math.max(of.memoryMb, more.memoryMb),
      timeoutSeconds: Math.max(of.timeoutSeconds, more.timeoutSeconds),
      needs: both(of.needs, more.needs),
      receivers: both(of.receivers, more.receivers),
      environment: both(of.environment, more.environment),
      getsObjects: both(of.getsObjects, [...(more.getsObjects ?? []), failed]),
      putsObjects: both(of.putsObjects, [...(more.putsObjects ?? []), failed]),
      install: { ...of.install, ...more.install },
      installForVideo: { ...of.installForVideo, ...more.installForVideo },
      needsForEvents: both(of.needsForEvents, more.needsForEvents),
    },
  };
}

/** Whether a stage runs with these variables. @throws ConfigError */
export function isEnabled(stage: PipelineStage, env: NodeJS.ProcessEnv = process.env): boolean {
  return !isMerged(stage, readConfig(['PICTURES'], env)) && isConfigured(stage, env);
}

/** Whether one of its variables is set, for a stage that runs only then. @throws ConfigError */
export function isConfigured({ enabledBy }: PipelineStage, env: NodeJS.ProcessEnv = process.env): boolean {
  if (!enabledBy) return true;
  return Object.values(readConfig(enabledBy, env)).some((value) => value !== undefined && value !== 'off');
}

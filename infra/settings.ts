import { type Config, ConfigError, readConfig, type VariableName } from '@video-pipeline/config';
import { RECEIVERS, type Receiver, STAGE_ENVIRONMENT, STAGE_VARIABLES } from '@video-pipeline/stages';
import { portOf } from '../packages/outbound/src/allowed-hosts.ts';

/** Variables that every process of the pipeline reads. */
export const COMMON_VARIABLES = [
  'LOG_LEVEL',
  'OTEL_EXPORTER_OTLP_ENDPOINT',
  'OTEL_TRACES_SAMPLER_ARG',
] as const satisfies VariableName[];
/** Variables of ingest. The table of stages has those of the pipeline's functions. */
export const INGEST_VARIABLES = [
  'FRAME_RATE',
  'MAX_FRAME_BYTES',
  'JPEG_QUALITY',
  'STALL_SECONDS',
  'BUFFER_SECONDS',
  'BUFFER_BYTES',
  'MOTION_THRESHOLD',
  'MOTION_KEEPALIVE_SECONDS',
  'MAX_LATENCY_SECONDS',
  'MIN_FRAME_RATE',
  'HEALTH_PORT',
  ...COMMON_VARIABLES,
] as const satisfies VariableName[];
export const MODEL_VARIABLES = [
  'INFERENCE_CONFIDENCE_THRESHOLD',
  'INFERENCE_DEVICE',
  'INFERENCE_BATCH_SIZES',
  'INFERENCE_THREADS',
  'MAX_BODY_BYTES',
  'MAX_REQUEST_FRAMES',
  'MAX_CONCURRENT_REQUESTS',
  'MAX_QUEUED_FRAMES',
  'MAX_FRAME_PIXELS',
  'REQUEST_TIMEOUT_SECONDS',
  'LOG_LEVEL',
] as const satisfies VariableName[];
/** Variables that the deploy itself reads. */
const DEPLOY_VARIABLES = ['BATCH_SIZE', 'BATCH_TIMEOUT_SECONDS', 'PORT', 'CONSOLE_PORT'] as const;

/** Every variable that a stage may set. The deploy sets all others itself, or reads them from its shell only. */
export const SETTABLE = [
  ...new Set([
    ...[...DEPLOY_VARIABLES, ...STAGE_VARIABLES, ...STAGE_ENVIRONMENT],
    ...[...INGEST_VARIABLES, ...MODEL_VARIABLES],
  ] as const),
];
type Settable = (typeof SETTABLE)[number];

/** Settings in a row of infra/stages.ts, by variable. */
export type Given = Partial<Record<Settable, string | number>>;
export type Settings = Config<Settable>;

/**
 * The settings of a stage. The deploying shell has priority over the stage's row, and the row over the defaults. The
 * defaults come from the table that all processes read, so that AWS and one machine have the same.
 * @throws ConfigError that names each wrong variable
 */
export function settingsOf(given: Given, shell: NodeJS.ProcessEnv = process.env): Settings {
  const set = SETTABLE.map((name) => [name, String(shell[name] || (given[name] ?? ''))]);
  return readConfig(SETTABLE, Object.fromEntries(set));
}

/** Environment of a process: the variables of `names` that have a value in the stage. */
export function environmentOf(
  { settings }: { settings: Partial<Record<VariableName, unknown>> },
  names: readonly VariableName[],
): Record<string, string> {
  return Object.fromEntries(
    names.flatMap((name) => (settings[name] === undefined ? [] : [[name, String(settings[name])]])),
  );
}

/** A name in the form for resources and alarms: `detect` becomes `Detect`. */
export const title = (name: string) => name.charAt(0).toUpperCase() + name.slice(1);

/** Port of MSK with IAM authentication, inside the VPC. */
export const KAFKA_IAM_PORT = 9098;

/** Addresses of the VPC that SST creates. */
export const VPC_CIDR = '10.0.0.0/16';

const DEPLOYER_VARIABLES = [
  'AWS_REGION',
  'DEPLOY_CIDRS',
  'MODEL_IMAGE',
  'MODEL_CANARY',
  'INFERENCE_CANARY_SHARE',
  'INFERENCE_CANARY_MODE',
  'INGEST_IMAGE',
  'ALARM_EMAIL',
  'CAMERAS_FILE',
  'CLUSTER_ADMINS',
  'CLUSTER_VIEWERS',
] as const satisfies VariableName[];
export const namesOf = ({ url, plain = [], secrets = [] }: Receiver) => [
  ...new Set([url, ...plain, ...secrets]),
];
/** Variables of the deploying shell: who has access, which images exist already, and receivers outside. */
export const DEPLOYMENT_VARIABLES: readonly VariableName[] = [
  ...DEPLOYER_VARIABLES,
  ...RECEIVERS.flatMap(namesOf),
];
/** @throws ConfigError */
export const deployment = (): Config<(typeof DEPLOYER_VARIABLES)[number]> => readConfig(DEPLOYMENT_VARIABLES);

/** The URL of a receiver, if the deploying shell names one. @throws ConfigError that names its variable */
export function urlOf({ url }: Receiver): URL | undefined {
  const value = readConfig([url])[url];
  if (value === undefined) return undefined;
  const to = new URL(String(value));
  if (portOf(to) === 0)
    throw new ConfigError(`${url} must name its port: that of ${to.protocol} is not known`);
  return to;
}

import { POLLER } from '@video-pipeline/frame';
import { groupOf, isMerged, STAGES, topicOf } from '@video-pipeline/stages';
import type { MetricName, VariantName } from '@video-pipeline/telemetry';
import type { Watched as Names } from './dashboard.ts';
import { awsMetric, namespaceOf, ON_DEMAND_NODES, type Service } from './metrics.ts';
import { title } from './settings.ts';

/** Period of each alarm, seconds. */
export const ALARM_PERIOD = 60;
/** A consumer group this far behind raises an alarm. */
const MAX_SECONDS_BEHIND = 60;
/** From capture to stored object, p95. Two batch windows of 5 s are part of it. */
const MAX_CAPTURE_TO_STORED_MS = 30_000;

/** One alarm, in the fields of `aws.cloudwatch.MetricAlarm`, without its actions. */
export interface Alarm {
  key: string;
  description: string;
  threshold: number;
  comparisonOperator: 'GreaterThanThreshold' | 'LessThanThreshold';
  evaluationPeriods: number;
  treatMissingData: 'breaching' | 'notBreaching';
  metric: Metric | { query: string } | { expression: string; of: Record<string, Metric> };
}

interface Metric {
  namespace: string;
  name: string;
  dimensions: Record<string, string>;
  statistic: string;
}

/** Where an alarm's runbook is. The alarms of all cameras share one, as do those of all pipeline stages. */
export function runbookOf({ key }: Pick<Alarm, 'key'>): string {
  const [, stage, kind] = /^([A-Z][a-z]+)(Lag|Failed|Errors)$/.exec(key) ?? [];
  const isStage = stage === 'Poller' || STAGES.some(({ name }) => title(name) === stage);
  const heading = isStage ? `Stage${kind}` : (key.split('-')[0] ?? key);
  return `docs/runbooks.md#${heading.toLowerCase()}`;
}

interface Watched extends Names {
  /** Name of the function that writes the tables. */
  compactor: string;
  /** S3 metric of the batches that Lambda gave up on. */
  lostBatches: { bucket: string; filter: string };
  hasCanary?: boolean | undefined;
  fallsBack?: boolean | undefined;
  streams: string[];
}

/** Alarms on what users notice: late pictures, a silent camera, lost frames, a failing model. */
export function alarms(watched: Watched): Alarm[] {
  const { name: stageName, settings } = watched.stage;
  const namespace = namespaceOf(stageName);
  const services = Object.keys(watched.functions);
  const stages = STAGES.filter(({ name }) => services.includes(name)).map((stage) => ({
    name: stage.name,
    group: groupOf(stage, settings),
    topic: topicOf(stage, settings),
  }));
  const inner = STAGES.filter((one) => isMerged(one, settings)).map(({ name }) => name);
  // A stage without a function runs as tasks, behind our own poller.
  const poller = services.every((service) => watched.functions[service]) ? [] : [POLLER];
  return [
    ...stages.map(({ name, group, topic }) =>
      above(
        `${title(name)}Lag`,
        `Group ${group} is over ${MAX_SECONDS_BEHIND} s behind on ${topic}.`,
        MAX_SECONDS_BEHIND,
        5,
        {
          ...awsMetric('AWS/Kafka', 'EstimatedMaxTimeLag', watched.clusterName, group, topic),
          statistic: 'Maximum',
        },
      ),
    ),
    ...[...services, ...inner, ...poller].map((service) => {
      const who = service === POLLER ? 'Poller' : title(service);
      return above(`${who}Failed`, `${who} put records into failed/${service}/.`, 0, 1, {
        query: `SELECT SUM(FramesFailed) FROM SCHEMA("${namespace}", service, stream) WHERE service = '${service}'`,
      });
    }),
    ...services
      .filter((service) => watched.functions[service])
      .map((service) =>
        above(`${title(service)}Errors`, `${title(service)} fails again and again; its batches wait.`, 0, 3, {
          ...awsMetric('AWS/Lambda', 'Errors', watched.functions[service] ?? ''),
          statistic: 'Sum',
        }),
      ),
    above('LostBatches', 'Lambda gave up batches. They are kept under aws/lambda/, to be put back.', 0, 1, {
      ...awsMetric('AWS/S3', 'PutRequests', watched.lostBatches.bucket, watched.lostBatches.filter),
      statistic: 'Sum',
    }),
    above('CompactErrors', 'An hour was not written to the tables; the next run tries again.', 0, 1, {
      ...awsMetric('AWS/Lambda', 'Errors', watched.compactor),
      statistic: 'Sum',
    }),
    ...(watched.endpoint
      ? [
          above('InferenceErrors', 'The SageMaker endpoint answers with errors.', 0, 3, {
            ...awsMetric('AWS/SageMaker', 'Invocation5XXErrors', watched.endpoint, 'main'),
            statistic: 'Sum',
          }),
        ]
      : []),
    ...(watched.fallsBack
      ? [
          above('SpotFallback', 'No spot instance was available: a GPU node runs on demand.', 0, 1, {
            ...{ namespace, name: ON_DEMAND_NODES, dimensions: {}, statistic: 'Sum' },
          }),
        ]
      : []),
    ...(watched.hasCanary ? canaryAlarms(namespace) : []),
    ...(watched.page ? [consoleAlarm(watched.page)] : []),
    ...watched.streams.flatMap((stream) => streamAlarms(namespace, stream)),
  ];
}

/** Share of a canary's batches that may fail, beyond the share of the model in use. */
const CANARY_ERRORS = 0.05;
/** Time that a canary may take for a batch, as a multiple of that of the model in use, p95. */
const CANARY_TIME = 1.5;
/** Tolerated difference of detections a frame, as a share of those of the model in use. */
const CANARY_DETECTIONS = 0.3;
/** Least detections a minute of the model in use for a comparison. */
const ENOUGH_DETECTIONS = 100;
/** Least frames a minute of the canary: fewer are too few scenes for a mean to be compared. */
const ENOUGH_CANARY_FRAMES = 1_000;

/** Alarms that compare the canary with the model in use in the same minutes. The first alarm stops the canary. */
export function canaryAlarms(namespace: string): Alarm[] {
  const both = (name: VariantName, statistic = 'Sum') => {
    const of = (variant: string) => ({
      ...{ namespace, name, statistic, dimensions: { service: 'detect', variant } },
    });
    const id = name.replace('Variant', '').toLowerCase();
    return { [`${id}_canary`]: of('canary'), [`${id}_main`]: of('main') };
  };
  const perFrame = (variant: string) => `(FILL(detections_${variant}, 0) / frames_${variant})`;
  return [
    above('CanaryErrors', 'The canary model fails at more batches than the model in use.', CANARY_ERRORS, 3, {
      expression: 'errors_canary / calls_canary - FILL(errors_main / calls_main, 0)',
      of: { ...both('VariantErrors'), ...both('VariantCalls') },
    }),
    above('CanarySlow', 'The canary model takes longer for a batch than the model in use.', CANARY_TIME, 5, {
      expression: 'time_canary / time_main',
      of: both('VariantTime', 'p95'),
    }),
    above(
      'CanaryDetections',
      'The canary model sees far more or far less in a frame than the model in use.',
      CANARY_DETECTIONS,
      5,
      {
        expression: `IF(detections_main > ${ENOUGH_DETECTIONS}, IF(frames_canary > ${ENOUGH_CANARY_FRAMES}, ABS(${perFrame('canary')} / ${perFrame('main')} - 1), 0), 0)`,
        of: { ...both('VariantDetections'), ...both('VariantFrames') },
      },
    ),
  ];
}

export const stopsCanary = ({ key }: Pick<Alarm, 'key'>) => key.startsWith('Canary');

function consoleAlarm({ loadBalancer, targetGroup }: NonNullable<Watched['page']>): Alarm {
  return silent('ConsoleDown', 'The console has not answered its load balancer for 3 minutes.', {
    ...awsMetric('AWS/ApplicationELB', 'HealthyHostCount', loadBalancer, targetGroup),
    statistic: 'Maximum',
  });
}

function streamAlarms(namespace: string, stream: string): Alarm[] {
  return [
    silent(`Silent-${stream}`, `No frame came from camera ${stream} for 3 minutes.`, {
      ...fromUs(namespace, 'ingest', 'FramesPublished', stream),
      statistic: 'Sum',
    }),
    above(
      `Late-${stream}`,
      `Frames of ${stream} take over ${MAX_CAPTURE_TO_STORED_MS / 1000} s from capture to S3 (p95).`,
      MAX_CAPTURE_TO_STORED_MS,
      5,
      { ...fromUs(namespace, 'annotate', 'CaptureToStored', stream), statistic: 'p95' },
    ),
  ];
}

function above(
  key: string,
  description: string,
  threshold: number,
  evaluationPeriods: number,
  metric: Alarm['metric'],
): Alarm {
  return {
    key,
    description,
    threshold,
    evaluationPeriods,
    metric,
    comparisonOperator: 'GreaterThanThreshold',
    treatMissingData: 'notBreaching',
  };
}

/** An alarm that no value came for three minutes. */
function silent(key: string, description: string, metric: Alarm['metric']): Alarm {
  return {
    ...above(key, description, 1, 3, metric),
    comparisonOperator: 'LessThanThreshold',
    treatMissingData: 'breaching',
  };
}

function fromUs(namespace: string, service: Service, name: MetricName, stream: string) {
  return { namespace, name, dimensions: { service, stream } };
}

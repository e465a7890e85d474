import { Metrics, MetricUnit } from '@aws-lambda-powertools/metrics';

/** Namespace of every metric in CloudWatch, unless METRICS_NAMESPACE names another. */
export const NAMESPACE = 'VideoPipeline';
const namespace = () => process.env.METRICS_NAMESPACE || NAMESPACE;

/** Every metric that a stage writes, with its unit. Dimensions: `service` (the stage) and `stream`. */
export const metricUnits = {
  /** Frames sampled from the camera that were neither thinned out nor still. Each has a number. */
  FramesCaptured: MetricUnit.Count,
  /** Frames that Kafka acknowledged. */
  FramesPublished: MetricUnit.Count,
  /** Frames that ingest dropped, because its buffer was full. */
  FramesDropped: MetricUnit.Count,
  /** Frames that ingest did not publish, because nothing moved in them. */
  FramesStill: MetricUnit.Count,
  /** Frames that ingest did not publish, because the pipeline was behind. */
  FramesThinned: MetricUnit.Count,
  /** Times that a stream was connected again. */
  Reconnects: MetricUnit.Count,
  /** Frames whose detections Kafka acknowledged. */
  FramesDetected: MetricUnit.Count,
  /** Objects seen. */
  Detections: MetricUnit.Count,
  /** Detections left out, by the filter that they failed. */
  FilteredByClass: MetricUnit.Count,
  FilteredByConfidence: MetricUnit.Count,
  FilteredByArea: MetricUnit.Count,
  FilteredByZone: MetricUnit.Count,
  FilteredByOverlap: MetricUnit.Count,
  /** Times that a stream's capture time went backwards. */
  ClockSetBack: MetricUnit.Count,
  /** Median interval between two frames of a stream, where it is too long for tracking. One value a batch. */
  SparseInterval: MetricUnit.Milliseconds,
  /** Events published. */
  Events: MetricUnit.Count,
  /** Events that every receiver accepted: the webhook, the MQTT broker, the EventBridge bus. */
  EventsDelivered: MetricUnit.Count,
  /** Frames that the receiver of a sink accepted. */
  FramesDelivered: MetricUnit.Count,
  /** Clips of events stored. */
  ClipsStored: MetricUnit.Count,
  /** Events without a clip, because no frame of that time was stored. */
  ClipsMissing: MetricUnit.Count,
  /** One inference call, for all frames of the stream's batch. */
  InferenceTime: MetricUnit.Milliseconds,
  /** Frames stored in S3: their pictures, or with STORE=events perhaps their detections alone. */
  FramesAnnotated: MetricUnit.Count,
  /** Frames of which only the detections were stored: STORE=events does not keep their pictures. */
  FramesNotKept: MetricUnit.Count,
  /** Detections that were not drawn on a picture that is kept: it has too many, or they cover too much. */
  BoxesNotDrawn: MetricUnit.Count,
  /** From capture to stored object, one value a frame. */
  CaptureToStored: MetricUnit.Milliseconds,
  /** Records moved to `failed/`. */
  FramesFailed: MetricUnit.Count,
} as const;

/** Metrics that compare two model servers. Dimensions: `service` and `variant`, `main` or `canary`. */
export const variantUnits = {
  /** Batches that the model server was asked about. */
  VariantCalls: MetricUnit.Count,
  /** Batches without an answer, or with one that can't be used. */
  VariantErrors: MetricUnit.Count,
  /** Frames answered. */
  VariantFrames: MetricUnit.Count,
  /** Objects seen in them. */
  VariantDetections: MetricUnit.Count,
  /** Of a shadow: objects that both model servers found, in the frames that both were asked about. */
  VariantAgreed: MetricUnit.Count,
  /** One call of the model server, for a whole batch. */
  VariantTime: MetricUnit.Milliseconds,
} as const;

export type VariantName = keyof typeof variantUnits;
export type VariantValues = Partial<Record<VariantName, number>>;

export type MetricName = keyof typeof metricUnits;
type MetricValues = Partial<Record<MetricName, number | number[]>>;

/**
 * Streams that a process names in its metrics. CloudWatch charges for each, and whoever may write to Kafka can invent
 * any number of them.
 */
const MAX_STREAMS = 2_000;
/** The name under which all further streams are counted. */
const OTHERS = 'others';
const named = new Set<string>();

/** Receives every metric that is written to stdout. */
interface MetricsObserver {
  metrics(service: string, stream: string, values: MetricValues): void;
  failures(service: string, code: string, count: number): void;
  /** Written by detect alone. */
  variant?(service: string, variant: string, values: VariantValues): void;
}

let observer: MetricsObserver | undefined;

/** Also gives every metric to `observer`: Prometheus scrapes them where nobody reads stdout. */
export function observeMetrics(one: MetricsObserver): void {
  observer = one;
}

function nameOf(stream: string): string {
  if (named.size < MAX_STREAMS) named.add(stream);
  return named.has(stream) ? stream : OTHERS;
}

// CloudWatch takes at most 100 values of one metric in a document; at 100 Powertools writes it out by itself.
const MAX_VALUES = 99;

/**
 * Writes metrics of one stream as CloudWatch embedded metric format, one JSON line on stdout.
 * @param session the session of ingest that the values belong to: it is written beside them, and is no dimension
 * @see https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
 */
export function emitMetrics(service: string, stream: string, values: MetricValues, session?: string): void {
  observer?.metrics(service, nameOf(stream), values);
  const lists = Object.entries(values).map(([name, value]) => [name as MetricName, [value].flat()] as const);
  const longest = Math.max(...lists.map(([, list]) => list.length));
  for (let from = 0; from < longest; from += MAX_VALUES) {
    publish(service, 'stream', nameOf(stream), (metrics) => {
      if (session !== undefined) metrics.addMetadata('session', session);
      for (const [name, list] of lists) {
        for (const value of list.slice(from, from + MAX_VALUES))
          metrics.addMetric(name, metricUnits[name], value);
      }
    });
  }
}

/** Writes one document. Not to a terminal: a person cannot read it, and nothing else reads it there. */
function publish(service: string, dimension: string, value: string, fill: (metrics: Metrics) => void): void {
  if (process.stdout.isTTY) return;
  const metrics = new Metrics({ namespace: namespace(), serviceName: service });
  metrics.addDimension(dimension, value);
  fill(metrics);
  metrics.publishStoredMetrics();
}

/**
 * Counts records moved to `failed/` by reason: metric `Failures`, dimensions `service` and `code`. The stream is no
 * dimension, since there may be a thousand streams.
 */
export function emitFailures(service: string, code: string, count: number): void {
  observer?.failures(service, code, count);
  publish(service, 'code', code, (metrics) => metrics.addMetric('Failures', MetricUnit.Count, count));
}

/** Writes the metrics of one of two model servers. */
export function emitVariant(service: string, variant: 'main' | 'canary', values: VariantValues): void {
  observer?.variant?.(service, variant, values);
  publish(service, 'variant', variant, (metrics) => {
    for (const [name, value] of Object.entries(values) as [VariantName, number][])
      metrics.addMetric(name, variantUnits[name], value);
  });
}

export interface MetricsLine {
  service: string;
  stream: string;
  /** Session of ingest, where the line names it. */
  session?: string;
  values: Partial<Record<MetricName, number[]>>;
}

/** Reads one line of {@link emitMetrics}; `undefined` when the line is anything else. */
export function parseMetrics(line: string): MetricsLine | undefined {
  if (!line.startsWith('{') || !line.includes('"CloudWatchMetrics"')) return undefined;
  let document: Record<string, unknown>;
  try {
    document = JSON.parse(line);
  } catch {
    return undefined;
  }
  const { service, stream, session } = document;
  if (typeof service !== 'string' || typeof stream !== 'string') return undefined;
  const values: MetricsLine['values'] = {};
  for (const name of Object.keys(metricUnits) as MetricName[]) {
    const value = document[name];
    if (value !== undefined) values[name] = [value].flat().filter((one) => typeof one === 'number');
  }
  return { service, stream, values, ...(typeof session === 'string' ? { session } : {}) };
}

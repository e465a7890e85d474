import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';
import { LowRates, type MetricName, parseMetrics } from '@video-pipeline/telemetry';
import { sum } from '../sum.ts';

/** The metric that each count of a stream's frames is added up from. */
const COUNTED = {
  captured: 'FramesCaptured',
  published: 'FramesPublished',
  thinned: 'FramesThinned',
  dropped: 'FramesDropped',
  detected: 'FramesDetected',
  annotated: 'FramesAnnotated',
  failed: 'FramesFailed',
} as const satisfies Record<string, MetricName>;
const STATES = Object.keys(COUNTED) as (keyof typeof COUNTED)[];

/** Counts of one stream's frames, by their state. */
export type StreamCounts = Record<keyof typeof COUNTED, number>;

/** Milliseconds from capture to stored object; `null` before the first one. */
export interface Latency {
  p50: number | null;
  p95: number | null;
  p99: number | null;
}

export interface StreamView extends StreamCounts {
  reconnects: number;
  /** Frames annotated a second, over the last seconds. */
  fps: number;
  latency: Latency;
}

const FPS_WINDOW_MS = 10_000;
/** Most streams beside this run's sources that are counted one by one: anyone may publish to Kafka. */
const MAX_OTHERS = 32;
/** The name for all further streams together. No stream can have this id. */
export const OTHER_STREAMS = '(further streams)';

interface Stream {
  counts: StreamCounts;
  reconnects: number;
  latency: RecordableHistogram;
  since: number;
  /** Frames annotated, with the times, for the rate. */
  recent: { at: number; frames: number }[];
}

/** Adds up the stages' metrics by stream: of this run's sources, and of a limited number of other streams. */
export class Counts {
  readonly #streams = new Map<string, Stream>();
  #sources: ReadonlySet<string> = new Set();
  #others = 0;
  #latency = createHistogram();
  readonly lowRates = new LowRates();

  /** Adds a line of a stage's stdout, if it is a metrics line. */
  add(line: string, now = performance.now()): void {
    const metrics = parseMetrics(line);
    if (!metrics) return;
    for (const interval of metrics.values.SparseInterval ?? [])
      this.lowRates.add(metrics.stream, interval, now);
    const stream = this.#stream(metrics.stream, now);
    for (const state of STATES) stream.counts[state] += sum(metrics.values[COUNTED[state]]);
    stream.reconnects += sum(metrics.values.Reconnects);
    const annotated = sum(metrics.values.FramesAnnotated);
    if (annotated) stream.recent.push({ at: now, frames: annotated });
    for (const ms of metrics.values.CaptureToStored ?? []) {
      // The histogram accepts only whole numbers from 1 on.
      stream.latency.record(Math.max(1, Math.round(ms)));
      this.#latency.record(Math.max(1, Math.round(ms)));
    }
  }

  /** Starts again from 0: earlier counts belong to an earlier run. @param sources ids of this run's streams */
  reset(sources: Iterable<string> = []): void {
    this.#sources = new Set(sources);
    this.#others = 0;
    this.#streams.clear();
    this.#latency = createHistogram();
    // A source that never gives a frame has a row, too.
    for (const id of this.#sources) this.#stream(id, performance.now());
  }

  streams(now = performance.now()): Record<string, StreamView> {
    const byName = [...this.#streams].sort(([a], [b]) => a.localeCompare(b));
    return Object.fromEntries(
      byName.map(([id, stream]) => {
        const { counts, reconnects, latency } = stream;
        return [id, { ...counts, reconnects, fps: rate(stream, now), latency: percentiles(latency) }];
      }),
    );
  }

  total(): StreamCounts {
    const streams = [...this.#streams.values()];
    return countsBy((state) => sum(streams.map(({ counts }) => counts[state])));
  }

  latency(): Latency {
    return percentiles(this.#latency);
  }

  #stream(id: string, since: number): Stream {
    let stream = this.#streams.get(id);
    if (!stream && !this.#sources.has(id)) {
      if (this.#others >= MAX_OTHERS && id !== OTHER_STREAMS) return this.#stream(OTHER_STREAMS, since);
      this.#others += 1;
    }
    if (!stream) {
      const counts = countsBy(() => 0);
      stream = { counts, reconnects: 0, latency: createHistogram(), since, recent: [] };
      this.#streams.set(id, stream);
    }
    return stream;
  }
}

function countsBy(count: (state: keyof StreamCounts) => number): StreamCounts {
  return Object.fromEntries(STATES.map((state) => [state, count(state)])) as StreamCounts;
}

function rate(stream: Stream, now: number): number {
  stream.recent = stream.recent.filter(({ at }) => at > now - FPS_WINDOW_MS);
  const frames = sum(stream.recent.map((one) => one.frames));
  const seconds = Math.min(FPS_WINDOW_MS, Math.max(1_000, now - stream.since)) / 1_000;
  return Math.round((frames / seconds) * 10) / 10;
}

function percentiles(histogram: RecordableHistogram): Latency {
  const at = (percent: number) => (histogram.count === 0 ? null : histogram.percentile(percent));
  return { p50: at(50), p95: at(95), p99: at(99) };
}

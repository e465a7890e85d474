import type { Admin } from '@video-pipeline/kafka';
import { consumerLag } from '@video-pipeline/kafka';
import type { Flow, Percentiles, StageFlow, StageSample, StageState } from './api.ts';

const SAMPLE_MS = 2_000;
/** Ten minutes. */
const MAX_SAMPLES = 300;
/** Rates are means over this span, as a stage finishes a batch at a time. */
const RATE_WINDOW_MS = 10_000;
/** A stage with more than this much work waiting is behind, if that is also more than two batches. */
const BEHIND_SECONDS = 10;
const TWO_BATCHES = 50;

export const STAGES = ['ingest', 'detect', 'annotate'] as const;
export type StageName = (typeof STAGES)[number];

/** Offsets of both topics and both groups at one time, summed over partitions. */
export interface Offsets {
  time: number;
  /** Records ever written to `video-frames`; records of it that detect has finished, and that wait for it. */
  frames: { written: number; finished: number; lag: number };
  /** The same of `detections`, for annotate. */
  detections: { written: number; finished: number; lag: number };
}

export interface FlowSettings {
  framesTopic: string;
  detectionsTopic: string;
  detectGroup: string;
  annotateGroup: string;
  bucket: string;
}

/** @throws kafkajs' errors, or one that names a topic that is not there */
export async function readOffsets(admin: Admin, settings: FlowSettings): Promise<Offsets> {
  const [frames, detections] = await Promise.all([
    topicOffsets(admin, settings.detectGroup, settings.framesTopic),
    topicOffsets(admin, settings.annotateGroup, settings.detectionsTopic),
  ]);
  return { time: Date.now(), frames, detections };
}

async function topicOffsets(admin: Admin, group: string, topic: string): Promise<Offsets['frames']> {
  const partitions = await consumerLag(admin, group, topic);
  const sum = (pick: (one: (typeof partitions)[number]) => number) =>
    partitions.reduce((total, one) => total + pick(one), 0);
  return {
    written: sum((one) => one.end),
    finished: sum((one) => one.committed),
    lag: sum((one) => one.lag),
  };
}

/** Makes rates and states out of offsets read every two seconds; keeps the last ten minutes. */
export class FlowHistory {
  readonly #offsets: Offsets[] = [];
  readonly #samples: Record<StageName, StageSample[]> = { ingest: [], detect: [], annotate: [] };
  readonly #settings: FlowSettings;

  constructor(settings: FlowSettings) {
    this.#settings = settings;
  }

  /** @param offsets `undefined` when Kafka could not be asked */
  add(
    offsets: Offsets | undefined,
    latency: Partial<Record<StageName, Percentiles | null>>,
    time = Date.now(),
  ): void {
    const offsetsBefore = this.#remember(offsets);
    const rate = (pick: (of: Offsets) => number) => {
      if (!offsets || !offsetsBefore) return null;
      const seconds = (offsets.time - offsetsBefore.time) / 1000;
      return Math.max(0, (pick(offsets) - pick(offsetsBefore)) / seconds);
    };
    const lag = {
      ingest: null,
      detect: offsets?.frames.lag ?? null,
      annotate: offsets?.detections.lag ?? null,
    };
    const rates = {
      ingest: rate((of) => of.frames.written),
      detect: rate((of) => of.frames.finished),
      annotate: rate((of) => of.detections.finished),
    };
    for (const name of STAGES) {
      const samples = this.#samples[name];
      samples.push({ time, rate: rates[name], lag: lag[name], latency: latency[name] ?? null });
      if (samples.length > MAX_SAMPLES) samples.shift();
    }
  }

  /** @param failed records in `failed/` by stage */
  flow(failed: ReadonlyMap<StageName, number>): Flow {
    const stages = STAGES.map((name): StageFlow => {
      const samples = this.#samples[name];
      return { name, state: stateOf(samples), failed: failed.get(name) ?? 0, samples };
    });
    const { framesTopic: frames, detectionsTopic: detections, bucket } = this.#settings;
    return { topics: { frames, detections }, bucket, stages };
  }

  /** @returns the oldest offsets inside the window that rates are taken over */
  #remember(offsets: Offsets | undefined): Offsets | undefined {
    if (!offsets) return undefined;
    while ((this.#offsets[0]?.time ?? offsets.time) < offsets.time - RATE_WINDOW_MS) this.#offsets.shift();
    const [first] = this.#offsets;
    this.#offsets.push(offsets);
    return first;
  }
}

/** What a stage's last samples say of it. */
export function stateOf(samples: readonly StageSample[]): StageState {
  const recent = samples.slice(-RATE_WINDOW_MS / SAMPLE_MS);
  const now = recent.at(-1);
  if (!now || now.rate === null) return 'unknown';
  const { rate, lag } = now;
  if (lag !== null && lag > 0 && rate === 0) {
    return recent.every((sample) => sample.rate === 0 && sample.lag) ? 'stopped' : 'ok';
  }
  if (lag !== null && lag > Math.max(rate * BEHIND_SECONDS, TWO_BATCHES)) return 'behind';
  return rate === 0 ? 'idle' : 'ok';
}

/** Runs `sample` every two seconds, one at a time. @returns stops it */
export function everySample(sample: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> = Promise.resolve();
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;
  const next = () => {
    running = sample().finally(() => {
      if (!stopped) timer = setTimeout(next, SAMPLE_MS);
    });
  };
  next();
  return async () => {
    stopped = true;
    clearTimeout(timer);
    await running;
  };
}

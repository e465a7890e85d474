import { type Config, urlBelow } from '@video-pipeline/config';
import type { Admin, Kafka } from '@video-pipeline/kafka';
import { askGroup } from '@video-pipeline/kafka';
import type { Bucket } from '@video-pipeline/recovery/bucket';
import { FAILED_FOLDERS, STAGE_VARIABLES } from '@video-pipeline/stages';
import { askHttp, HealthWatch, type Logger, lowRateNote, type Probe } from '@video-pipeline/telemetry';
import type { Flow, Health, Percentiles } from './api.ts';
import { Cameras } from './cameras.ts';
import { failedCounts } from './failed.ts';
import { everySample, FlowHistory, type FlowSettings, flowStages, readOffsets } from './flow.ts';
import type { LiveFrames } from './live.ts';
import { storedLatency } from './stored-latency.ts';

const FAILED_EVERY_MS = 10_000;
const STORED_EVERY_MS = 4_000;
/** A stream without frames for longer than this has no recent latency, milliseconds. */
const RECENT_MS = 60_000;
/** The bucket is listed for latencies only while someone watches, since listing costs money on AWS. */
const WATCHED_MS = 15_000;
const LONG_AGO = Number.NEGATIVE_INFINITY;

/** Variables that name what is watched. */
export const MONITOR_VARIABLES = [
  ...STAGE_VARIABLES,
  'BATCH_SIZE',
  'S3_BUCKET',
  'S3_PREFIX',
  'INGEST_URL',
  'INFERENCE_SERVICE_URL',
] as const;

/** Watches Kafka and S3 from outside: rates, lag, latency, failed records, and whether they answer. */
export class Monitor {
  readonly #admin: Admin;
  readonly #bucket: Bucket;
  readonly #live: LiveFrames;
  readonly #lowRates: () => Readonly<Record<string, number>>;
  readonly #health: HealthWatch;
  readonly cameras: Cameras;
  readonly #settings: FlowSettings & { prefix: string };
  readonly #history: FlowHistory;
  readonly #stopCounting: () => Promise<void>;
  #failed = new Map<string, number>();
  #stored: Percentiles | null = null;
  // Times of a clock that nobody sets, milliseconds.
  #lastAsked = LONG_AGO;
  #lastFailed = LONG_AGO;
  #lastLooked = LONG_AGO;
  #lastStored = LONG_AGO;
  #lastWatched = LONG_AGO;

  constructor(options: {
    kafka: Kafka;
    bucket: Bucket;
    live: LiveFrames;
    /** Frames a second of streams with too few frames for tracking. */
    lowRates: () => Readonly<Record<string, number>>;
    log: Pick<Logger, 'info' | 'warn'>;
    config: Config<(typeof MONITOR_VARIABLES)[number]>;
    env?: NodeJS.ProcessEnv | undefined;
  }) {
    const { kafka, bucket, live, config, log, env } = options;
    this.cameras = new Cameras(config.INGEST_URL);
    this.#admin = kafka.admin();
    this.#bucket = bucket;
    this.#live = live;
    this.#lowRates = options.lowRates;
    this.#settings = {
      stages: flowStages(config, env),
      batchSize: config.BATCH_SIZE,
      bucket: config.S3_BUCKET,
      prefix: config.S3_PREFIX,
    };
    this.#history = new FlowHistory(this.#settings);
    this.#stopCounting = everySample(() => this.#count().catch(() => {}));
    this.#health = new HealthWatch(this.#probes(inferenceUrlOf(config, env)), log);
  }

  #probes(model: string | undefined): Record<string, Probe> {
    const stages = this.#settings.stages.flatMap(({ name, group }) =>
      group ? [[name, () => askGroup(group, (question) => this.#ask(question))] as const] : [],
    );
    return {
      kafka: () => this.#sampleKafka(),
      s3: () => this.#askS3(),
      ...(model ? { model: () => askHttp(urlBelow(model, 'health'), (status) => status === 200) } : {}),
      ...(this.cameras.isKnown ? { ingest: () => this.cameras.sample() } : {}),
      ...Object.fromEntries(stages),
    };
  }

  get parts(): Health['parts'] {
    const note = lowRateNote(this.#lowRates());
    const { parts } = this.#health;
    return parts.detect && note ? { ...parts, detect: { ...parts.detect, note } } : parts;
  }

  /** Records in `failed/` by stage. */
  get failed(): ReadonlyMap<string, number> {
    return this.#failed;
  }

  /** Lag of each stage in records, as far as it is known. */
  lags(): [string, number][] {
    return this.#history.flow(this.#failed).stages.flatMap(({ name, samples }) => {
      const lag = samples.at(-1)?.lag ?? null;
      return lag === null ? [] : [[name, lag] as [string, number]];
    });
  }

  health(): Health {
    const failed = [...this.#failed.values()].reduce((sum, count) => sum + count, 0);
    const { forgotten } = this.#live;
    this.#lastLooked = performance.now();
    return { now: Date.now(), parts: this.parts, failed, forgotten };
  }

  flow(): Flow {
    this.#lastWatched = performance.now();
    const flow = this.#history.flow(this.#failed);
    // Offsets show what ingest has published, not whether it runs.
    const isAway = this.#health.isAway('ingest');
    return {
      ...flow,
      stages: flow.stages.map((stage) => (isAway && !stage.reads ? { ...stage, state: 'away' } : stage)),
    };
  }

  async close(): Promise<void> {
    this.#health.stop();
    await this.#stopCounting();
    await this.#admin.disconnect();
  }

  /** Counts failed records again at the next look, since somebody has put some back or deleted them. */
  recountFailed(): void {
    this.#lastFailed = LONG_AGO;
  }

  async #ask<Answer>(question: (admin: Admin) => Promise<Answer>): Promise<Answer> {
    await this.#admin.connect();
    return question(this.#admin);
  }

  async #sampleKafka(): Promise<undefined> {
    const latency = { detect: this.#live.latency(), annotate: this.#stored };
    try {
      this.#history.add(await this.#ask((admin) => readOffsets(admin, this.#settings)), latency);
    } catch (error) {
      this.#history.add(undefined, latency);
      throw error;
    }
  }

  // Listing costs money on AWS. While nobody watches, S3 is asked less often as long as it answers.
  async #askS3(): Promise<undefined> {
    const now = performance.now();
    const isLookedAt = now - this.#lastLooked < WATCHED_MS;
    if (!isLookedAt && !this.#health.isAway('s3') && now - this.#lastAsked < FAILED_EVERY_MS) return;
    this.#lastAsked = now;
    await this.#bucket.page('failed/', { limit: 1 });
  }

  /** Updates the counts of failed records and the latency of stored frames. Errors of S3 show in its health. */
  async #count(): Promise<void> {
    const now = performance.now();
    const isWatched = now - this.#lastWatched < WATCHED_MS;
    if (now - this.#lastFailed >= FAILED_EVERY_MS) {
      this.#failed = await failedCounts(this.#bucket, FAILED_FOLDERS);
      this.#lastFailed = now;
    }
    if (isWatched && now - this.#lastStored >= STORED_EVERY_MS) {
      const recent = this.#live.newest().filter(({ arrived_at }) => arrived_at > Date.now() - RECENT_MS);
      this.#stored = await storedLatency(this.#bucket, this.#settings.prefix, recent);
      this.#lastStored = now;
    }
    if (!isWatched) this.#stored = null;
  }
}

/** Address of the inference server. Its default does not count, since it is a name in a cluster. */
export function inferenceUrlOf(
  { INFERENCE_SERVICE_URL }: Config<'INFERENCE_SERVICE_URL'>,
  env: NodeJS.ProcessEnv = process.env,
): string | undefined {
  return env.INFERENCE_SERVICE_URL ? INFERENCE_SERVICE_URL : undefined;
}

import type { Config } from '@video-pipeline/config';
import type { Admin, Kafka } from '@video-pipeline/kafka';
import { FAILED_FOLDERS, STAGE_VARIABLES } from '@video-pipeline/stages';
import type { Logger } from '@video-pipeline/telemetry';
import type { Flow, Health, Percentiles } from './api.ts';
import type { ArchiveBucket } from './bucket.ts';
import { Cameras } from './cameras.ts';
import { failedCounts } from './failed.ts';
import { everySample, FlowHistory, type FlowSettings, flowStages, readOffsets } from './flow.ts';
import type { LiveFrames } from './live.ts';
import { Reachability } from './reachability.ts';
import { storedLatency } from './stored-latency.ts';

const FAILED_EVERY_MS = 10_000;
/** Longest wait for the least that S3 can be asked. */
const S3_ANSWER_MS = 2_000;
const STORED_EVERY_MS = 4_000;
const ANSWER_MS = 3_000;
/** A stream that was silent for longer has no latency of late. */
const RECENT_MS = 60_000;
/** The bucket is listed for latencies only while someone looks: listing costs money on AWS. */
const WATCHED_MS = 15_000;

/** Variables that say what is watched. */
export const MONITOR_VARIABLES = [
  ...STAGE_VARIABLES,
  'BATCH_SIZE',
  'S3_BUCKET',
  'S3_PREFIX',
  'INGEST_URL',
  'INFERENCE_SERVICE_URL',
] as const;

/** Watches Kafka and S3 from outside: rates, lag, latency, failed records, and whether they answer at all. */
export class Monitor {
  readonly #admin: Admin;
  readonly #bucket: ArchiveBucket;
  readonly #live: LiveFrames;
  readonly #kafka: Reachability;
  readonly #s3: Reachability;
  readonly #ingest: Reachability;
  readonly #model: Reachability;
  readonly #modelUrl: URL | undefined;
  readonly cameras: Cameras;
  readonly #settings: FlowSettings & { prefix: string };
  readonly #history: FlowHistory;
  readonly #stops: (() => Promise<void>)[];
  #failed = new Map<string, number>();
  #stored: Percentiles | null = null;
  #lastFailed = 0;
  #lastLooked = 0;
  #lastStored = 0;
  #lastWatched = 0;

  constructor(options: {
    kafka: Kafka;
    bucket: ArchiveBucket;
    live: LiveFrames;
    log: Pick<Logger, 'info' | 'warn'>;
    config: Config<(typeof MONITOR_VARIABLES)[number]>;
    env?: NodeJS.ProcessEnv | undefined;
  }) {
    const { kafka, bucket, live, config, log, env } = options;
    this.#kafka = new Reachability('Kafka', log);
    this.#s3 = new Reachability('S3', log);
    this.#ingest = new Reachability('ingest', log);
    this.#model = new Reachability('the model server', log);
    this.cameras = new Cameras(config.INGEST_URL, this.#ingest);
    // Its default names a server in a cluster.
    const hasModel = Boolean((env ?? process.env).INFERENCE_SERVICE_URL);
    this.#modelUrl = hasModel ? new URL('/health', config.INFERENCE_SERVICE_URL) : undefined;
    this.#admin = kafka.admin();
    this.#bucket = bucket;
    this.#live = live;
    this.#settings = {
      stages: flowStages(config, env),
      batchSize: config.BATCH_SIZE,
      bucket: config.S3_BUCKET,
      prefix: config.S3_PREFIX,
    };
    this.#history = new FlowHistory(this.#settings);
    this.#stops = [
      everySample(() => this.#sampleKafka()),
      everySample(() => this.#sampleBucket()),
      everySample(() => this.cameras.sample()),
      everySample(() => this.#sampleModel()),
    ];
  }

  health(): Health {
    const failed = [...this.#failed.values()].reduce((sum, count) => sum + count, 0);
    const { forgotten } = this.#live;
    this.#lastLooked = Date.now();
    return {
      now: Date.now(),
      kafka: this.#kafka.health,
      s3: this.#s3.health,
      ...(this.cameras.isKnown ? { ingest: this.#ingest.health } : {}),
      ...(this.#modelUrl ? { model: this.#model.health } : {}),
      failed,
      forgotten,
    };
  }

  flow(): Flow {
    this.#lastWatched = Date.now();
    const flow = this.#history.flow(this.#failed);
    // Offsets tell of what ingest has published, not of whether it lives.
    const isAway = this.cameras.isKnown && !this.#ingest.health.ok;
    return {
      ...flow,
      stages: flow.stages.map((stage) => (isAway && !stage.reads ? { ...stage, state: 'away' } : stage)),
    };
  }

  async close(): Promise<void> {
    await Promise.all(this.#stops.map((stop) => stop()));
    await this.#admin.disconnect();
  }

  async #sampleKafka(): Promise<void> {
    const latency = { detect: this.#live.latency(), annotate: this.#stored };
    try {
      await this.#admin.connect();
      this.#history.add(await readOffsets(this.#admin, this.#settings), latency);
      this.#kafka.succeeded();
    } catch (error) {
      this.#history.add(undefined, latency);
      this.#kafka.failed(error as Error);
    }
  }

  async #sampleModel(): Promise<void> {
    if (!this.#modelUrl) return;
    try {
      const { status } = await fetch(this.#modelUrl, { signal: AbortSignal.timeout(ANSWER_MS) });
      if (status !== 200) throw new Error(`its health is ${status}`);
      this.#model.succeeded();
    } catch (error) {
      this.#model.failed(error as Error);
    }
  }

  async #sampleBucket(): Promise<void> {
    const now = Date.now();
    const isLookedAt = now - this.#lastLooked < WATCHED_MS;
    const isWatched = now - this.#lastWatched < WATCHED_MS;
    try {
      const isDue = now - this.#lastFailed >= FAILED_EVERY_MS || !this.#s3.health.ok;
      if (isDue || isLookedAt) {
        await within(S3_ANSWER_MS, this.#bucket.page('failed/', { limit: 1 }));
        this.#s3.succeeded();
      }
      if (isDue) {
        this.#failed = await failedCounts(this.#bucket, FAILED_FOLDERS);
        this.#lastFailed = now;
      }
      if (isWatched && now - this.#lastStored >= STORED_EVERY_MS) {
        const recent = this.#live.newest().filter(({ arrived_at }) => arrived_at > now - RECENT_MS);
        this.#stored = await storedLatency(this.#bucket, this.#settings.prefix, recent);
        this.#lastStored = now;
      }
      if (!isWatched) this.#stored = null;
    } catch (error) {
      this.#s3.failed(error as Error);
    }
  }
}

/** @throws an error that is a timeout's when the work takes longer */
async function within(ms: number, work: Promise<unknown>): Promise<void> {
  const late = AbortSignal.timeout(ms);
  const { promise, reject } = Promise.withResolvers<never>();
  late.addEventListener('abort', () => reject(late.reason), { once: true });
  await Promise.race([work, promise]);
}

import type { Config } from '@video-pipeline/config';
import type { Admin, Kafka } from '@video-pipeline/kafka';
import type { DependencyHealth, Flow, Health, Percentiles } from './api.ts';
import type { ArchiveBucket } from './bucket.ts';
import { failedCounts } from './failed.ts';
import { everySample, FlowHistory, type FlowSettings, readOffsets, STAGES, type StageName } from './flow.ts';
import type { LiveFrames } from './live.ts';
import { storedLatency } from './stored-latency.ts';

const FAILED_EVERY_MS = 10_000;
const STORED_EVERY_MS = 4_000;
/** The bucket is listed for latencies only while someone looks: listing costs money on AWS. */
const WATCHED_MS = 15_000;

/** Watches Kafka and S3 from outside: rates, lag, latency, failed records, and whether they answer at all. */
export class Monitor {
  readonly #admin: Admin;
  readonly #bucket: ArchiveBucket;
  readonly #live: LiveFrames;
  readonly #settings: FlowSettings & { prefix: string };
  readonly #history: FlowHistory;
  readonly #stops: (() => Promise<void>)[];
  #kafka: DependencyHealth = { ok: true, since: 0 };
  #s3: DependencyHealth = { ok: true, since: 0 };
  #failed = new Map<StageName, number>();
  #stored: Percentiles | null = null;
  #lastFailed = 0;
  #lastStored = 0;
  #lastWatched = 0;

  constructor(options: {
    kafka: Kafka;
    bucket: ArchiveBucket;
    live: LiveFrames;
    config: Config<'KAFKA_TOPIC' | 'KAFKA_DETECTIONS_TOPIC' | 'KAFKA_GROUP_ID' | 'S3_BUCKET' | 'S3_PREFIX'>;
  }) {
    const { kafka, bucket, live, config } = options;
    this.#admin = kafka.admin();
    this.#bucket = bucket;
    this.#live = live;
    this.#settings = {
      framesTopic: config.KAFKA_TOPIC,
      detectionsTopic: config.KAFKA_DETECTIONS_TOPIC,
      detectGroup: config.KAFKA_GROUP_ID,
      annotateGroup: `${config.KAFKA_GROUP_ID}-annotate`,
      bucket: config.S3_BUCKET,
      prefix: config.S3_PREFIX,
    };
    this.#history = new FlowHistory(this.#settings);
    this.#stops = [everySample(() => this.#sampleKafka()), everySample(() => this.#sampleBucket())];
  }

  health(): Health {
    const failed = [...this.#failed.values()].reduce((sum, count) => sum + count, 0);
    return { now: Date.now(), kafka: this.#kafka, s3: this.#s3, failed };
  }

  flow(): Flow {
    this.#lastWatched = Date.now();
    return this.#history.flow(this.#failed);
  }

  async close(): Promise<void> {
    await Promise.all(this.#stops.map((stop) => stop()));
    await this.#admin.disconnect();
  }

  async #sampleKafka(): Promise<void> {
    const offsets = await this.#admin
      .connect()
      .then(() => readOffsets(this.#admin, this.#settings))
      .catch((error: Error) => error);
    const failure = offsets instanceof Error ? offsets : undefined;
    this.#kafka = healthAfter(this.#kafka, failure);
    const latency = { detect: this.#live.latency(), annotate: this.#stored };
    this.#history.add(offsets instanceof Error ? undefined : offsets, latency);
  }

  async #sampleBucket(): Promise<void> {
    const now = Date.now();
    const isWatched = now - this.#lastWatched < WATCHED_MS;
    try {
      if (now - this.#lastFailed >= FAILED_EVERY_MS || !this.#s3.ok) {
        this.#failed = await failedCounts(this.#bucket, STAGES);
        this.#lastFailed = now;
        this.#s3 = healthAfter(this.#s3, undefined);
      }
      if (isWatched && now - this.#lastStored >= STORED_EVERY_MS) {
        this.#stored = await storedLatency(this.#bucket, this.#settings.prefix, this.#live.streams(), now);
        this.#lastStored = now;
      }
      if (!isWatched) this.#stored = null;
    } catch (error) {
      this.#s3 = healthAfter(this.#s3, error as Error);
    }
  }
}

function healthAfter(before: DependencyHealth, failure: Error | undefined): DependencyHealth {
  const ok = failure === undefined;
  const since = ok === before.ok && before.since > 0 ? before.since : Date.now();
  return ok ? { ok, since } : { ok, since, error: failure.message };
}

import { type Config, urlBelow } from '@video-pipeline/config';
import type { Admin, Kafka } from '@video-pipeline/kafka';
import { askGroup } from '@video-pipeline/kafka';
import { FAILED_FOLDERS, STAGE_VARIABLES } from '@video-pipeline/stages';
import type { Bucket } from '@video-pipeline/storage';
import { checkHttp, HealthWatch, type Logger, type Probe, withLowRates } from '@video-pipeline/telemetry';
import type { Flow, Health, Percentiles } from './api.ts';
import { watchCameras } from './cameras.ts';
import { failedCounts } from './failed.ts';
import { flowHistory, flowStages, readOffsets, samplePeriodically } from './flow.ts';
import type { LiveFrames } from './live.ts';
import { storedLatency } from './stored-latency.ts';

const FAILED_EVERY_MS = 10_000;
const STORED_EVERY_MS = 4_000;
/** A stream without frames for longer than this has no recent latency, milliseconds. */
const RECENT_MS = 60_000;
/** The bucket is listed for latencies only while someone watches, since listing costs money on AWS. */
const WATCHED_MS = 15_000;
const LONG_AGO = Number.NEGATIVE_INFINITY;

export const MONITOR_VARIABLES = [
  ...STAGE_VARIABLES,
  'BATCH_SIZE',
  'S3_BUCKET',
  'S3_PREFIX',
  'INGEST_URL',
  'INFERENCE_SERVICE_URL',
] as const;

export type Monitor = ReturnType<typeof startMonitor>;

/** Watches Kafka and S3 from outside: rates, lag, latency, failed records, and whether they answer. */
export function startMonitor(options: {
  kafka: Kafka;
  bucket: Bucket;
  live: LiveFrames;
  /** Frames a second of streams with too few frames for tracking. */
  lowRates: () => Readonly<Record<string, number>>;
  log: Pick<Logger, 'info' | 'warn'>;
  config: Config<(typeof MONITOR_VARIABLES)[number]>;
  env?: NodeJS.ProcessEnv | undefined;
}) {
  const { kafka, bucket, live, lowRates, config, log, env } = options;
  const admin = kafka.admin();
  const cameras = watchCameras(config.INGEST_URL);
  const stages = flowStages(config, env);
  const history = flowHistory({ stages, batchSize: config.BATCH_SIZE, bucket: config.S3_BUCKET });
  let failed: ReadonlyMap<string, number> = new Map();
  let stored: Percentiles | null = null;
  // Times of the monotonic clock, milliseconds.
  let lastAsked = LONG_AGO;
  let lastFailed = LONG_AGO;
  let lastLooked = LONG_AGO;
  let lastStored = LONG_AGO;
  let lastWatched = LONG_AGO;

  async function ask<Answer>(question: (admin: Admin) => Promise<Answer>): Promise<Answer> {
    await admin.connect();
    return question(admin);
  }
  async function sampleKafka(): Promise<undefined> {
    const latency = { detect: live.latency(), annotate: stored };
    try {
      history.add(await ask((admin) => readOffsets(admin, stages)), latency);
    } catch (error) {
      history.add(undefined, latency);
      throw error;
    }
  }
  // Listing costs money on AWS. While nobody watches, S3 is asked less often as long as it answers.
  async function askS3(): Promise<undefined> {
    const now = performance.now();
    const isLookedAt = now - lastLooked < WATCHED_MS;
    if (!isLookedAt && !health.isAway('s3') && now - lastAsked < FAILED_EVERY_MS) return;
    lastAsked = now;
    await bucket.page('failed/', { limit: 1 });
  }
  /** Updates the counts of failed records and the latency of stored frames. Errors of S3 show in its health. */
  async function count(): Promise<void> {
    const now = performance.now();
    const isWatched = now - lastWatched < WATCHED_MS;
    if (now - lastFailed >= FAILED_EVERY_MS) {
      failed = await failedCounts(bucket, FAILED_FOLDERS);
      lastFailed = now;
    }
    if (isWatched && now - lastStored >= STORED_EVERY_MS) {
      const recent = live.newest().filter(({ arrived_at }) => arrived_at > Date.now() - RECENT_MS);
      stored = await storedLatency(bucket, config.S3_PREFIX, recent);
      lastStored = now;
    }
    if (!isWatched) stored = null;
  }

  const stopCounting = samplePeriodically(() => count().catch(() => {}));
  const model = inferenceUrlOf(config, env);
  const probes: Record<string, Probe> = { kafka: sampleKafka, s3: askS3 };
  if (model) probes.model = () => checkHttp(urlBelow(model, 'health'), (status) => status === 200);
  if (cameras.sample) probes.ingest = cameras.sample;
  for (const { name, group } of stages) if (group) probes[name] = () => askGroup(group, ask);
  const health = new HealthWatch(probes, log);

  return {
    cameras,
    get parts(): Health['parts'] {
      return withLowRates(health.parts, lowRates());
    },
    get failed() {
      return failed;
    },
    /** Lag of each stage in records, as far as it is known. */
    lags: () =>
      history.flow(failed).stages.flatMap(({ name, samples }) => {
        const lag = samples.at(-1)?.lag ?? null;
        return lag === null ? [] : [[name, lag] as const];
      }),
    health(): Health {
      lastLooked = performance.now();
      const sum = [...failed.values()].reduce((sum, count) => sum + count, 0);
      return { now: Date.now(), parts: this.parts, failed: sum, forgotten: live.forgotten };
    },
    flow(): Flow {
      lastWatched = performance.now();
      const flow = history.flow(failed);
      // Offsets show what ingest has published, not whether it runs.
      const isAway = health.isAway('ingest');
      return {
        ...flow,
        stages: flow.stages.map((stage) => (isAway && !stage.reads ? { ...stage, state: 'away' } : stage)),
      };
    },
    /** Makes the next round count the failed records, since somebody has put some back or deleted them. */
    recountFailed(): void {
      lastFailed = LONG_AGO;
    },
    async close(): Promise<void> {
      health.stop();
      await stopCounting();
      await admin.disconnect();
    },
  };
}

/** Address of the inference server. Its default does not count, since it is a name in a cluster. */
export function inferenceUrlOf(
  { INFERENCE_SERVICE_URL }: Config<'INFERENCE_SERVICE_URL'>,
  env: NodeJS.ProcessEnv = process.env,
): string | undefined {
  return env.INFERENCE_SERVICE_URL ? INFERENCE_SERVICE_URL : undefined;
}

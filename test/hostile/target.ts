import { glob, mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join, relative } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { capturedAtOf } from '@video-pipeline/frame';
import { connectKafka, type Kafka, MAX_MESSAGE_BYTES } from '@video-pipeline/kafka';
import { bucketFolder } from '@video-pipeline/local/lightweight';
import { readTopic } from '@video-pipeline/recovery';
import type { FailedRecord } from '@video-pipeline/storage';
import type { StreamStats } from '../../ingest-host/src/stats.ts';
import { usageOf } from '../../packages/local/src/screen/usage.ts';
import type { State } from '../../packages/local/src/session.ts';
import { startStackProcess } from '../e2e/stack-process.ts';
import { orAborted } from '../support/stopping.ts';

/** The demo cameras. Their frames must be annotated throughout. */
const GOOD = ['cap12_edit', 'cap13_edit2', 'franck'];
const BUCKET = 'video-pipeline-output';
const TOPICS = ['video-frames', 'detections'];
const RAW_TOPIC = [
  { name: 'max.message.bytes', value: String(MAX_MESSAGE_BYTES) },
  { name: 'compression.type', value: 'producer' },
];
/** Kafka's number of the resource type 'topic'. */
const TOPIC_RESOURCE = 2;
const START_MS = 300_000;
const POLL_MS = 200;
/** Longest wait for the result of an attack, milliseconds, also on a busy machine. */
export const OUTCOME_MS = 300_000;

/** An entry of `failed/`, without its record. */
export interface Failed extends Pick<FailedRecord, 'stage' | 'reason' | 'reference'> {
  topic: string;
  partition: number;
  offset: number;
}

/** The whole pipeline, as `npm start` runs it, beside good cameras. */
export interface Target {
  /** `host:port` */
  kafka: string;
  endpoints: State['endpoints'];
  /** An annotated JPEG of a good camera. */
  jpeg: Buffer;
  /** Number of annotated frames of the stream. */
  annotated(streamId: string): Promise<number>;
  /** Times of capture and of storage, epoch milliseconds, in the order of storage. */
  annotatedAt(streamId: string): Promise<{ capturedAt: number; storedAt: number }[]>;
  failed(): Promise<Failed[]>;
  /** Ingest's state of its streams. */
  ingest(): Promise<Record<string, StreamStats>>;
  /** Waits until a condition is true. @throws Error with its name if it never is */
  until(what: string, holds: () => Promise<boolean>): Promise<void>;
}

export interface Measured {
  /** Longest pause between annotated frames of a good camera, milliseconds, and its end. */
  pauseMs: number;
  pauseOf: string;
  /** Longest pause between captured frames of a good camera, milliseconds. */
  capturePauseMs: number;
  /** Number of reconnects of good cameras. */
  reconnects: number;
  /** Largest resident set of any process of the name, MiB. */
  memory: Map<string, number>;
  /** Names of processes that ended and were restarted. */
  restarted: string[];
  /** Number of frames of good cameras in `failed/`. */
  goodFailed: number;
}

/** Starts the pipeline. Its topics keep the compression of producers, as a foreign cluster may. */
export async function startTarget(signal?: AbortSignal) {
  const dataDir = await mkdtemp(join(tmpdir(), 'hostile-'));
  const stack = startStackProcess(dataDir, ['--frame-rate', '1'], { BATCH_TIMEOUT_SECONDS: '0.5' });
  const bucket = bucketFolder(dataDir, BUCKET);
  const failed = new Map<string, Promise<Failed>>();
  const keys = async (pattern: string) =>
    Array.fromAsync(glob(join(bucket, pattern)), (file) => relative(bucket, file));
  // They are read again and again, and some have megabytes.
  const readOnce = (key: string) => {
    const read = readFailed(bucket, key);
    failed.set(key, read);
    // It may be incomplete.
    read.catch(() => failed.delete(key));
    return read;
  };
  const stop = async () => {
    stack.child.kill('SIGINT');
    await stack.exited;
    await rm(dataDir, { recursive: true, force: true });
  };
  try {
    const flows = ({ streams }: State) => GOOD.every((id) => (streams[id]?.annotated ?? 0) > 4);
    const { endpoints } = await orAborted(stack.until(flows, 'frames of the good cameras', START_MS), signal);
    await keepCompressed(endpoints.kafka);
    const [picture = ''] = await keys('annotated/**/*.jpg');
    const until: Target['until'] = async (what, holds) => {
      for (const end = Date.now() + OUTCOME_MS; Date.now() < end; await sleep(POLL_MS)) {
        if (await holds()) return;
      }
      throw new Error(`never came: ${what}`);
    };
    const target: Target = {
      kafka: endpoints.kafka,
      endpoints,
      jpeg: await readFile(join(bucket, picture)),
      annotated: async (id) => (await keys(`annotated/${id}/**/*.jpg`)).length,
      annotatedAt: async (id) => {
        const frames = (await keys(`annotated/${id}/**/*.jpg`)).map(async (key) => ({
          capturedAt: capturedAtOf(key),
          storedAt: (await stat(join(bucket, key))).mtimeMs,
        }));
        return (await Promise.all(frames)).sort((one, other) => one.storedAt - other.storedAt);
      },
      failed: async () =>
        Promise.all(
          (await keys('failed/**/*')).filter(isEntry).map((key) => failed.get(key) ?? readOnce(key)),
        ),
      ingest: async () => {
        const health = await fetch(`${endpoints.health}/health`);
        return ((await health.json()) as { streams: Record<string, StreamStats> }).streams;
      },
      until,
    };
    return { target, watch: () => watch(stack.state, target), stop, output: () => stack.output };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function keepCompressed(bootstrap: string): Promise<void> {
  const admin = clientOf(bootstrap).admin();
  await admin.connect();
  const resources = TOPICS.map((name) => ({ type: TOPIC_RESOURCE, name, configEntries: RAW_TOPIC }));
  await admin.alterConfigs({ validateOnly: false, resources });
  await admin.disconnect();
}

/** Creates a topic that keeps the compression of producers. */
export async function createRawTopic(bootstrap: string, topic: string): Promise<void> {
  const admin = clientOf(bootstrap).admin();
  await admin.connect();
  await admin.createTopics({
    waitForLeaders: true,
    topics: [{ topic, numPartitions: 1, configEntries: RAW_TOPIC }],
  });
  await admin.disconnect();
}

function clientOf(bootstrap: string): Kafka {
  const quiet = { warn() {}, error() {} };
  const settings = { KAFKA_BOOTSTRAP_SERVERS: bootstrap, KAFKA_AUTH: 'none', AWS_REGION: 'x' } as const;
  return connectKafka('hostile', quiet, settings);
}

const isEntry = (key: string) => /-\d+-\d+$/.test(key);

async function readFailed(bucket: string, key: string): Promise<Failed> {
  const { stage, reason, reference }: FailedRecord = JSON.parse(await readFile(join(bucket, key), 'utf8'));
  const [, topic = '', partition, offset] = /^(.*)-(\d+)-(\d+)$/.exec(basename(key)) ?? [];
  return {
    stage,
    reason,
    topic,
    partition: Number(partition),
    offset: Number(offset),
    ...(reference ? { reference } : {}),
  };
}

/** Measures the pipeline from now on. @returns a function that ends that and returns the measurements */
function watch(state: () => Promise<State | undefined>, target: Target): () => Promise<Measured> {
  const began = Date.now();
  const measured: Measured = {
    ...{ pauseMs: 0, pauseOf: '', capturePauseMs: 0, reconnects: 0, goodFailed: 0 },
    ...{ memory: new Map(), restarted: [] },
  };
  const restarts = new Map<string, number>();
  const sample = async () => {
    const ingested = await target.ingest();
    const now = Date.now();
    const ages = GOOD.map((id) => now - (ingested[id]?.lastFrameAt ?? began));
    measured.capturePauseMs = Math.max(measured.capturePauseMs, ...ages);
    measured.reconnects = GOOD.reduce((sum, id) => sum + (ingested[id]?.reconnects ?? 0), 0);
    const { pid, services = {}, streams = {} } = (await state()) ?? {};
    measured.goodFailed = GOOD.reduce((sum, id) => sum + (streams[id]?.failed ?? 0), 0);
    const processes = [['supervisor', { pid, restarts: 0 }] as const, ...Object.entries(services)];
    for (const [name, service] of processes) {
      const before = restarts.get(name) ?? service.restarts;
      restarts.set(name, service.restarts);
      if (service.restarts > before) measured.restarted.push(name);
      const usage = service.pid ? await usageOf(service.pid) : undefined;
      const mib = Math.round((usage?.peak_rss_bytes ?? 0) / 1024 ** 2);
      measured.memory.set(name, Math.max(measured.memory.get(name) ?? 0, mib));
    }
  };
  let isOver = false;
  const sampling = (async () => {
    for (; !isOver; await sleep(POLL_MS)) await sample();
  })();
  sampling.catch(() => {}); // The function that ends the measurement throws it.
  return async () => {
    isOver = true;
    await sampling;
    let worst = { id: '', capturedAt: 0, storedAt: began };
    for (const id of GOOD) {
      const frames = (await target.annotatedAt(id)).filter(({ storedAt }) => storedAt > began);
      for (const [index, { capturedAt, storedAt }] of frames.entries()) {
        const pauseMs = Math.round(storedAt - (frames[index - 1]?.storedAt ?? began));
        if (pauseMs <= measured.pauseMs) continue;
        measured.pauseMs = pauseMs;
        worst = { id, capturedAt, storedAt };
      }
    }
    const until = ((worst.storedAt - performance.timeOrigin) / 1000).toFixed(1);
    measured.pauseOf = `${worst.id}, until ${until} s; after its capture ${await wayOf(target, worst)}`;
    return measured;
  };
}

/** @returns milliseconds from the capture of a frame until each topic and S3 had it */
async function wayOf({ kafka }: Target, frame: { id: string; capturedAt: number; storedAt: number }) {
  const places: string[] = [];
  for (const topic of TOPICS) {
    await readTopic(clientOf(kafka), topic, ({ headers, timestamp }) => {
      const [id, capturedAt] = [String(headers?.stream_id), Number(headers?.captured_at)];
      if (id === frame.id && capturedAt === frame.capturedAt)
        places.push(`on ${topic} ${timestamp - capturedAt} ms`);
    });
  }
  return [...places, `stored ${Math.round(frame.storedAt - frame.capturedAt)} ms`].join(', ');
}

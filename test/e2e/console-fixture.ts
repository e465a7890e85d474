import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Value } from '@video-pipeline/config';
import {
  annotatedKey,
  type DetectedFrame,
  type Detection,
  encodeDetectedFrame,
  encodeFrame,
  toLambdaRecord,
} from '@video-pipeline/frame';
import { createAnnotate } from '@video-pipeline/functions/annotate';
import {
  type Admin,
  connectKafka,
  ensureTopics,
  type Kafka,
  orderedProducer,
  type Producer,
} from '@video-pipeline/kafka';
import { type KafkaServer, startKafka } from '@video-pipeline/local';
import type { SceneEvent } from '@video-pipeline/scene';
import { createPutFailed, createStore, type MergingStore } from '@video-pipeline/storage';
import { type FauxqsServer, startFauxqs } from 'fauxqs';
import { unique } from '../support/unique.ts';
import { clipFrames } from './model-clips.ts';

const MAIN = resolve(import.meta.dirname, '../../packages/console/src/main.ts');
const SILENT = { warn() {}, error() {} };
export const BUCKET = 'video-pipeline-output';
export const WIDTH = 400;
export const HEIGHT = 300;

/** The list of streams of the console: the right half of the yard is a zone, and its middle a line. */
const STREAMS = `# The cameras.
- id: yard # south
  url: rtsp://admin:secret@cam/1
  scene:
    zones:
      lawn: { polygon: [[0.5, 0], [1, 0], [1, 1], [0.5, 1]], holes: [[[0.7, 0.2], [0.8, 0.2], [0.8, 0.4]]] }
    lines:
      gate: { from: [0.5, 1], to: [0.5, 0] }
- id: gate
  url: rtsp://cam/2
`;

/** A console in a process of its own, on a real Kafka and an S3 API in memory. */
export interface ConsoleFixture {
  url: string;
  child: ChildProcess;
  /** Its own Kafka; undefined if it uses a shared one. */
  kafka: KafkaServer | undefined;
  topics: Topics;
  /** Consumer group of detect. */
  groupId: string;
  client: Kafka;
  admin: Admin;
  producer: Producer;
  s3: FauxqsServer;
  store: MergingStore;
  /** Settings of its bucket. */
  storage: { S3_BUCKET: string; AWS_REGION: string; AWS_ENDPOINT_URL: string };
  /** Path of its list of streams, {@link STREAMS}. */
  streamsFile: string;
  /** Starts its own Kafka again on its port and data, after `kafka.kill()`. */
  restartKafka(): Promise<void>;
  stop(): Promise<void>;
}

/** Names of topics. */
interface Topics {
  frames: string;
  detections: string;
  events: string;
}

export interface ConsoleOptions {
  /** Further variables for the console. */
  env?: NodeJS.ProcessEnv;
  /** Of streams. Left out: {@link STREAMS}. */
  list?: string | undefined;
  /** `host:port` of a shared Kafka, where the console gets its own topics and group. Default: a Kafka of its own. */
  kafka?: string | undefined;
}

export async function startConsoleFixture({
  env = {},
  list = STREAMS,
  kafka,
}: ConsoleOptions = {}): Promise<ConsoleFixture> {
  const dataDir = await mkdtemp(join(tmpdir(), 'console-'));
  let server = kafka === undefined ? await startKafka({ dataDir }) : undefined;
  const bootstrap = kafka ?? server?.bootstrap ?? '';
  const named = (name: string) => (kafka === undefined ? name : unique(name));
  const topics = {
    frames: named('video-frames'),
    detections: named('detections'),
    events: named('events'),
  };
  const groupId = named('frame-consumer-group');
  const s3 = await startFauxqs({ port: 0, host: '127.0.0.1', logger: false });
  s3.createBucket(BUCKET);
  const storage = {
    S3_BUCKET: BUCKET,
    AWS_REGION: 'us-east-1',
    AWS_ENDPOINT_URL: `http://127.0.0.1:${s3.port}`,
  };
  const credentials = { AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' };
  Object.assign(process.env, credentials);
  const client = connectClient(bootstrap);
  const admin = client.admin();
  await admin.connect();
  await ensureTopics(
    admin,
    Object.values(topics).map((topic) => ({ topic, partitions: 4 })),
  );
  const producer = orderedProducer(client);
  await producer.connect();
  const streamsFile = join(dataDir, 'streams.yaml');
  await writeFile(streamsFile, list);
  const child = fork(MAIN, ['--port', '0'], {
    execArgv: ['--disable-warning=ExperimentalWarning'],
    env: {
      ...process.env,
      ...credentials,
      ...storage,
      KAFKA_BOOTSTRAP_SERVERS: bootstrap,
      KAFKA_TOPIC: topics.frames,
      KAFKA_DETECTIONS_TOPIC: topics.detections,
      KAFKA_EVENTS_TOPIC: topics.events,
      KAFKA_GROUP_ID: groupId,
      STREAMS_FILE: streamsFile,
      ...env,
    },
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const [{ ready }] = await once(child, 'message');
  return {
    url: ready.url,
    child,
    get kafka() {
      return server;
    },
    topics,
    groupId,
    client,
    admin,
    producer,
    s3,
    store: createStore(storage),
    storage,
    streamsFile,
    async restartKafka() {
      server = await startKafka({ dataDir, port: Number(bootstrap.split(':')[1]) });
    },
    async stop() {
      const exited = once(child, 'exit');
      child.kill();
      await Promise.all([exited, producer.disconnect(), admin.disconnect()]);
      await Promise.all([server?.stop(), s3.stop()]);
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

function connectClient(bootstrap: string): Kafka {
  return connectKafka('test', SILENT, {
    KAFKA_BOOTSTRAP_SERVERS: bootstrap,
    KAFKA_AUTH: 'none',
    AWS_REGION: 'us-east-1',
  });
}

let ofCameras: Promise<Buffer[][]> | undefined;

/** Ten JPEGs of each of the demo clips, for {@link startCameras}: made once in a process. */
export async function cameraJpegs(): Promise<Buffer[][]> {
  ofCameras ??= clipJpegs(10);
  return ofCameras;
}

/** JPEGs of the demo clips, `count` of each. */
export async function clipJpegs(
  count: number,
  resize = { width: WIDTH, height: HEIGHT },
): Promise<Buffer[][]> {
  const clips = await clipFrames(5, count, (scaler, frame) => scaler.toJpeg(frame, { resize, quality: 85 }));
  return clips.map(({ pictures }) => pictures);
}

export const PERSON: Detection = {
  class_id: 0,
  class_name: 'person',
  confidence: 0.88,
  bbox: [100, 60, 300, 280],
};
export const CAT: Detection = { class_id: 15, class_name: 'cat', confidence: 0.42, bbox: [20, 200, 80, 260] };

/** A frame of a stream with its detections. */
export function detectedFrame(
  streamId: string,
  frameNumber: number,
  capturedAt: number,
  jpeg: Buffer,
  detections: Detection[] = [PERSON, CAT],
): DetectedFrame {
  const size = { width: WIDTH, height: HEIGHT };
  return {
    streamId,
    frameNumber,
    session: 'test',
    capturedAt,
    ...size,
    jpeg,
    detections,
    model: 'nanodet-g',
  };
}

/** The event that a person entered the zone of a stream in frame `frameNumber`. */
export function sceneEvent(
  streamId: string,
  frameNumber: number,
  at = Date.UTC(2026, 10, 25, 7),
): SceneEvent {
  const frames = [at - 100, at].map((time, i) =>
    annotatedKey('annotated', { streamId, capturedAt: time, frameNumber: frameNumber - 1 + i }),
  );
  return {
    event_id: frameNumber.toString(16).padStart(32, '0'),
    type: 'entered_zone',
    rule: 'intruder',
    stream_id: streamId,
    at,
    track_id: 't-1',
    class_name: 'person',
    zone: 'lawn',
    frames,
  };
}

type Topical = Pick<ConsoleFixture, 'producer' | 'topics'>;

/** Publishes records with detections on the next topic, as detect does. */
export async function publish(
  { producer, topics }: Topical,
  frames: readonly DetectedFrame[],
): Promise<void> {
  await producer.send({ topic: topics.frames, messages: frames.map(encodeFrame) });
  await producer.send({ topic: topics.detections, messages: frames.map(encodeDetectedFrame) });
}

/** Stores frames by the annotate handler, in batches of 25. */
export async function annotate(
  store: MergingStore,
  frames: readonly DetectedFrame[],
  form: Value<'STORE'> = 'frames',
  boxes = true,
): Promise<void> {
  const handle = createAnnotate({
    store,
    prefix: 'annotated',
    form,
    boxes,
    putFailed: createPutFailed(store, 'annotate'),
    logger: SILENT,
  });
  for (let first = 0; first < frames.length; first += 25) {
    const records = frames.slice(first, first + 25).map((frame, i) => {
      const position = {
        topic: 'detections',
        partition: 0,
        offset: String(first + i),
        timestamp: frame.capturedAt,
      };
      return toLambdaRecord(position, encodeDetectedFrame(frame));
    });
    await handle({
      eventSource: 'aws:kafka',
      eventSourceArn: 'test',
      bootstrapServers: 'test',
      records: { 'detections-0': records },
    });
  }
}

/** Cameras that send until stopped: one frame each, `fps` times a second. */
export function startCameras(
  fixture: Topical,
  streams: readonly string[],
  fps: number,
  clips: readonly Buffer[][],
): { sent: () => number; stop: () => Promise<void> } {
  let frameNumber = 0;
  let sending = Promise.resolve();
  const timer = setInterval(() => {
    const now = Date.now();
    const frames = streams.map((streamId, i) => {
      const clip = clips[i % clips.length] ?? [];
      return detectedFrame(streamId, frameNumber, now, clip[frameNumber % clip.length] ?? Buffer.of(0));
    });
    frameNumber += 1;
    sending = sending.then(() => publish(fixture, frames)).catch(() => {});
  }, 1000 / fps);
  return {
    sent: () => frameNumber * streams.length,
    async stop() {
      clearInterval(timer);
      await sending;
    },
  };
}

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Cameras, startCameras } from '@video-pipeline/camera';
import { decodeFrame, type Frame } from '@video-pipeline/frame';
import { type Admin, connectKafka, ensureTopics, type Kafka } from '@video-pipeline/kafka';
import { type KafkaServer, startKafka } from '@video-pipeline/local';
import { readTopic } from '@video-pipeline/recovery';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { startIngestProcess } from '../support/ingest-process.ts';
import { jpegSize } from '../support/jpeg.ts';
import { unique } from '../support/unique.ts';
import { evenTimes, makeVideo } from '../support/video.ts';

let folder: string;
let clip: string;
let server: KafkaServer;
let kafka: Kafka;
let admin: Admin;
let cameras: Cameras;
const started: ReturnType<typeof startIngestProcess>[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ingest-'));
  clip = await makeVideo(join(folder, 'clip.mp4'), { times: evenTimes(100, 25), gop: 25 });
  server = await startKafka({ dataDir: folder });
  const silent = { warn() {}, error() {} };
  kafka = connectKafka('test', silent, {
    ...{ KAFKA_BOOTSTRAP_SERVERS: server.bootstrap, KAFKA_AUTH: 'none', AWS_REGION: '' },
  });
  admin = kafka.admin();
  await admin.connect();
  const noise = await makeVideo(join(folder, 'noise.mp4'), {
    times: evenTimes(50, 25),
    gop: 25,
    luma: () => 16 + Math.random() * 219,
  });
  cameras = await startCameras({ clips: { yard: clip, door: clip, noise } });
});
afterEach(async () => {
  for (const ingest of started.splice(0)) await ingest.stop();
});
afterAll(async () => {
  await cameras?.close();
  await admin?.disconnect();
  await server?.stop();
  await rm(folder, { recursive: true, force: true });
});

function start(topic: string, streams: object[], env: Record<string, string> = {}) {
  const ingest = startIngestProcess({
    KAFKA_BOOTSTRAP_SERVERS: server.bootstrap,
    KAFKA_TOPIC: topic,
    STREAMS: JSON.stringify(streams),
    ...env,
  });
  started.push(ingest);
  return ingest;
}

/** @returns the name of a topic of a test's own */
async function createTopic(name: string, partitions = 1): Promise<string> {
  const topic = unique(name);
  await ensureTopics(admin, [{ topic, partitions }]);
  return topic;
}

/** All frames of a topic, each stream in its order, and the partitions that hold it. */
async function readFrames(topic: string): Promise<{ frames: Frame[]; partitions: Map<string, Set<number>> }> {
  const frames: Frame[] = [];
  const partitions = new Map<string, Set<number>>();
  await readTopic(kafka, topic, (record) => {
    const frame = decodeFrame(record);
    frames.push(frame);
    partitions.set(frame.streamId, (partitions.get(frame.streamId) ?? new Set()).add(record.partition));
  });
  return { frames, partitions };
}

const numbersOf = (frames: Frame[], id: string) =>
  frames.filter(({ streamId }) => streamId === id).map(({ frameNumber }) => frameNumber);

test('ingest publishes exactly MAX_FRAMES frames, each camera in order on one partition, and exits with 0', async () => {
  const topic = await createTopic('limited', 4);
  const streams = ['yard', 'door'].map((id) => ({ id, url: `${cameras.url}/${id}` }));
  const ingest = start(topic, streams, { MAX_FRAMES: '41' });
  expect(await ingest.exited).toBe(0);
  const { frames, partitions } = await readFrames(topic);
  expect(frames).toHaveLength(41);
  for (const id of ['yard', 'door']) {
    const numbers = numbersOf(frames, id);
    expect(numbers).toEqual(numbers.map((_, index) => index));
    expect(partitions.get(id)?.size).toBe(1);
  }
  for (const { jpeg, width, height } of frames) expect(jpegSize(jpeg)).toEqual({ width, height });
});

test('a missing topic is reported and used once it exists, in health and metrics, too; SIGTERM ends ingest', async () => {
  const topic = unique('late');
  const ingest = start(topic, [{ id: 'yard', url: `${cameras.url}/yard` }]);
  const { url } = await ingest.ready;
  await expect.poll(ingest.output, { timeout: 30_000 }).toContain(`topic '${topic}' does not exist`);
  const health = await fetch(`${url}/health`);
  expect([health.status, await health.json()]).toMatchObject([
    200,
    { streams: { yard: { state: 'flowing' } } },
  ]);
  await ensureTopics(admin, [{ topic, partitions: 1 }]);
  const metrics = async () => (await fetch(`${url}/metrics`)).text();
  await expect
    .poll(metrics, { timeout: 30_000 })
    .toMatch(/ingest_frames_published_total\{stream="yard"\} [1-9]/);
  const told = await metrics();
  const total = (name: string) =>
    Number(new RegExp(`^${name}_total{stream="yard"} (\\S+)$`, 'm').exec(told)?.[1]);
  expect(total('ingest_pictures_decoded')).toBeGreaterThanOrEqual(total('ingest_frames_captured'));
  // A picture of 320x240 is decoded within microseconds, and never longer than it is shown.
  const decode = total('ingest_decode_seconds') / total('ingest_pictures_decoded');
  expect(decode).toBeGreaterThan(0);
  expect(decode).toBeLessThan(0.04);
  expect(told).toContain('ingest_stream_up{stream="yard"} 1');
  const started = performance.now();
  expect(await ingest.stop()).toBe(0);
  expect(performance.now() - started).toBeLessThan(4_000);
  const published = [...ingest.output().matchAll(/"FramesPublished":(\d+)/g)];
  const acknowledged = published.reduce((sum, [, count]) => sum + Number(count), 0);
  expect((await readFrames(topic)).frames).toHaveLength(acknowledged);
});

test('a stream is thinned to its minimum while no consumer reads, and not after one keeps up', async () => {
  const [topic, seen] = [await createTopic('thin'), await createTopic('seen')];
  const groupId = unique('thin');
  const ingest = start(topic, [{ id: 'yard', url: `${cameras.url}/yard`, frame_rate: 25 }], {
    ...{ KAFKA_DETECTIONS_TOPIC: seen, KAFKA_GROUP_ID: groupId },
    ...{ MAX_LATENCY_SECONDS: '1', MIN_FRAME_RATE: '2', BATCH_TIMEOUT_SECONDS: '0.2' },
  });
  const { url } = await ingest.ready;
  const yard = async () => {
    const { streams } = (await (await fetch(`${url}/health`)).json()) as {
      streams: Record<string, { captured: number; thinned: number; thinnedTo?: number; dropped: number }>;
    };
    return streams.yard;
  };
  const thinnedTo = async () => (await yard())?.thinnedTo;
  // It starts at its floor, before there is a picture that could be left out.
  const some = expect.toSatisfy((thinned: number) => thinned > 0);
  await expect.poll(yard, { timeout: 30_000 }).toMatchObject({ thinnedTo: 2, thinned: some, dropped: 0 });
  const reader = kafka.consumer({ groupId });
  await reader.connect();
  await reader.subscribe({ topic, fromBeginning: true });
  await reader.run({ autoCommitInterval: 100, eachMessage: async () => {} });
  await expect.poll(thinnedTo, { timeout: 60_000 }).toBeUndefined();
  await reader.disconnect();
  expect(await ingest.stop()).toBe(0);
  const { frames } = await readFrames(topic);
  // What is thinned has no number: a gap would be a loss.
  expect(numbersOf(frames, 'yard')).toEqual(frames.map((_, index) => index));
  expect(ingest.output()).toMatch(/"FramesThinned":[1-9]/);
});

test("the former producer's options publish a file completely and as fast as possible", async () => {
  const topic = await createTopic('file');
  const main = join(import.meta.dirname, '../../ingest-host/src/producer.ts');
  const options = ['--rtsp-url', clip, '--kafka-bootstrap', server.bootstrap, '--kafka-topic', topic];
  const producer = startIngestProcess({}, main, [...options, '--stream-id', 'gate', '--frame-rate', '25']);
  expect(await producer.exited).toBe(0);
  const { frames } = await readFrames(topic);
  expect(numbersOf(frames, 'gate')).toEqual(Array.from({ length: 100 }, (_, index) => index));
});

test('during a broker outage frames are limited in bytes, counted, in order and without duplicates', async () => {
  const topic = await createTopic('outage');
  const yard = { id: 'yard', url: `${cameras.url}/noise`, frame_rate: 25, quality: 95 };
  const ingest = start(topic, [yard], { BUFFER_SECONDS: '60', BUFFER_BYTES: '5000000' });
  const { url } = await ingest.ready;
  const waiting = async () => {
    const metrics = await (await fetch(`${url}/metrics`)).text();
    return Number(/^ingest_waiting_bytes (\d+)$/m.exec(metrics)?.[1]);
  };
  const count = (name: string) =>
    [...ingest.output().matchAll(new RegExp(`"${name}":(\\d+)`, 'g'))].reduce(
      (sum, [, value]) => sum + Number(value),
      0,
    );
  await expect.poll(() => count('FramesPublished'), { timeout: 20_000 }).toBeGreaterThan(5);
  await admin.disconnect();
  const { port } = new URL(`kafka://${server.bootstrap}`);
  await server.kill();
  let most = 0;
  const dropped = async () => {
    most = Math.max(most, await waiting());
    return count('FramesDropped');
  };
  try {
    await expect.poll(dropped, { timeout: 30_000 }).toBeGreaterThan(50);
  } finally {
    // The cluster lets in a broker that was killed once it has given it up: after 9 s, unless told otherwise.
    const settings = { 'broker.session.timeout.ms': '3000', 'broker.heartbeat.interval.ms': '500' };
    server = await startKafka({ dataDir: folder, port: Number(port), settings });
    await admin.connect();
  }
  expect(most).toBeGreaterThan(4_000_000);
  expect(most).toBeLessThanOrEqual(5_000_000);
  const before = count('FramesPublished');
  await expect.poll(() => count('FramesPublished'), { timeout: 30_000 }).toBeGreaterThan(before + 30);
  expect(await ingest.stop()).toBe(0);

  const { frames } = await readFrames(topic);
  const numbers = numbersOf(frames, 'yard');
  expect(numbers).toEqual([...new Set(numbers)].sort((one, other) => one - other));
  expect(frames).toHaveLength(count('FramesPublished'));
  expect((numbers.at(-1) ?? 0) + 1 - numbers.length).toBe(count('FramesDropped'));
});

import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import {
  annotatedKey,
  type DetectedFrame,
  type Detection,
  encodeDetectedFrame,
  encodeFrame,
  toLambdaRecord,
} from '@video-pipeline/frame';
import { connectKafka, ensureTopics, orderedProducer } from '@video-pipeline/kafka';
import { type KafkaServer, startKafka } from '@video-pipeline/local';
import { audit, isClean, listFailed, openBucket, readTopic, redrive, replay } from '@video-pipeline/recovery';
import { createQuarantine, createStore } from '@video-pipeline/storage';
import { type FauxqsServer, startFauxqs } from 'fauxqs';
import type { Kafka, Producer } from 'kafkajs';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';

let folder: string;
let server: KafkaServer;
let s3: FauxqsServer;
let kafka: Kafka;
let producer: Producer;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'recovery-'));
  server = await startKafka({ dataDir: folder });
  s3 = await startFauxqs({ port: 0, host: '127.0.0.1', logger: false });
  s3.createBucket('bucket');
  process.env.AWS_ACCESS_KEY_ID = 'test';
  process.env.AWS_SECRET_ACCESS_KEY = 'test';
  kafka = connectKafka('test', console, {
    KAFKA_BOOTSTRAP_SERVERS: server.bootstrap,
    KAFKA_AUTH: 'none',
    AWS_REGION: 'us-east-1',
  });
  producer = orderedProducer(kafka);
  await producer.connect();
});

afterAll(async () => {
  await producer?.disconnect();
  await s3?.stop();
  await server?.stop();
  await rm(folder, { recursive: true, force: true });
});

function storage() {
  return {
    S3_BUCKET: 'bucket',
    AWS_REGION: 'us-east-1',
    AWS_ENDPOINT_URL: `http://127.0.0.1:${s3.port}`,
  };
}

/** A picture of its own for each number: a bright spot that moves. */
async function frame(frameNumber: number): Promise<DetectedFrame> {
  const spot = { create: { width: 80, height: 60, channels: 3 as const, background: 'white' } };
  const jpeg = await sharp({ create: { width: 320, height: 240, channels: 3, background: '#345' } })
    .composite([{ input: await sharp(spot).png().toBuffer(), left: frameNumber * 20, top: frameNumber * 15 }])
    .jpeg()
    .toBuffer();
  return {
    streamId: 'yard',
    frameNumber,
    session: 's1',
    capturedAt: 1_795_000_000_000 + frameNumber,
    width: 320,
    height: 240,
    jpeg,
    detections: [],
    model: 'm',
  };
}

async function publish(name: string, frames: DetectedFrame[]) {
  const admin = kafka.admin();
  await admin.connect();
  const topics = { framesTopic: `frames-${name}`, detectionsTopic: `detections-${name}` };
  await ensureTopics(
    admin,
    Object.values(topics).map((topic) => ({ topic, partitions: 2 })),
  );
  await admin.disconnect();
  await producer.send({ topic: topics.framesTopic, messages: frames.map(encodeFrame) });
  await producer.send({ topic: topics.detectionsTopic, messages: frames.map(encodeDetectedFrame) });
  return { ...topics, kafka, bucket: openBucket(storage()), s3Prefix: name, pixels: true };
}

async function store(prefix: string, frames: DetectedFrame[], picture = (one: DetectedFrame) => one.jpeg) {
  for (const one of frames) {
    const object = { key: annotatedKey(prefix, one), body: picture(one), contentType: 'image/jpeg' };
    await createStore(storage()).put(object);
  }
}

test('the audit is clean when every frame is stored, and says which is missing when one is not', async () => {
  const frames = await Promise.all([0, 1, 2, 3].map(frame));
  const options = await publish('missing', frames);
  await store('missing', frames.slice(1));

  expect(await audit(options)).toMatchObject({
    published: 4,
    annotated: 3,
    missing: ['yard/s1/0'],
    wrongPixels: [],
  });
  await store('missing', frames.slice(0, 1));
  expect(isClean(await audit(options))).toBe(true);
});

test('the audit finds a stored picture that is another frame', async () => {
  const frames = await Promise.all([0, 1, 2, 3].map(frame));
  const options = await publish('swapped', frames);
  await store('swapped', frames, (one) => (one.frameNumber === 2 ? (frames[3]?.jpeg ?? one.jpeg) : one.jpeg));

  expect((await audit(options)).wrongPixels).toEqual(['yard/s1/2']);
});

test('the audit finds detections that came with another picture', async () => {
  const frames = await Promise.all([0, 1].map(frame));
  const options = await publish('mixed', frames);
  await store('mixed', frames);
  const wrong = { ...(await frame(1)), jpeg: (await frame(5)).jpeg };
  await producer.send({ topic: options.detectionsTopic, messages: [encodeDetectedFrame(wrong)] });

  expect((await audit(options)).mixedUp).toEqual(['yard/s1/1']);
});

test('a failed record is listed with its reason, put back on its topic as it was, and gone from failed/', async () => {
  const frames = [await frame(7)];
  const options = await publish('redriven', frames);
  const records: Parameters<typeof toLambdaRecord>[1][] = [];
  await readTopic(kafka, options.framesTopic, async (record) => {
    records.push(record);
    const position = { ...record, offset: String(record.offset) };
    const { topic, partition, offset, timestamp } = position;
    const failed = toLambdaRecord({ topic, partition, offset, timestamp }, record);
    await createQuarantine(createStore(storage()), 'detect')(failed, 'corrupt JPEG');
  });
  expect(await audit(options)).toMatchObject({ failed: 1, annotated: 0, missing: [] });

  const entries = await Array.fromAsync(listFailed(options.bucket, { stream: 'yard', reason: 'corrupt' }));
  expect(entries).toMatchObject([{ stage: 'detect', reason: 'corrupt JPEG' }]);
  expect(await Array.fromAsync(listFailed(options.bucket, { stream: 'other' }))).toEqual([]);
  for (const entry of entries) await redrive(options.bucket, producer, entry);

  const again: typeof records = [];
  await readTopic(kafka, options.framesTopic, (record) => void again.push(record));
  expect(again).toHaveLength(2);
  expect(again.map(({ key, value, headers }) => ({ key, value, headers }))).toEqual(
    [...records, ...records].map(({ key, value, headers }) => ({ key, value, headers })),
  );
  expect(await Array.fromAsync(options.bucket.list('failed/'))).toEqual([]);
});

/** Runs a command of `packages/recovery` as `npm run` does. */
function command(name: 'audit' | 'failed', args: string[], env: NodeJS.ProcessEnv) {
  const script = resolve(import.meta.dirname, `../../packages/recovery/src/${name}-command.ts`);
  const named = { S3_BUCKET: 'bucket', AWS_ENDPOINT_URL: storage().AWS_ENDPOINT_URL };
  const environment = { ...process.env, ...named, KAFKA_BOOTSTRAP_SERVERS: server.bootstrap, ...env };
  return new Promise<{ code: number; stdout: string; stderr: string }>((done) => {
    const child = execFile(
      process.execPath,
      [script, ...args],
      { env: environment },
      (_error, stdout, stderr) => done({ code: child.exitCode ?? -1, stdout, stderr }),
    );
  });
}

test('the commands say what they would do, do it when told to, and the audit says what is lost', async () => {
  const options = await publish('commands', [await frame(1), await frame(2)]);
  await readTopic(kafka, options.framesTopic, async (record) => {
    const { topic, partition, offset, timestamp } = record;
    const failed = toLambdaRecord({ topic, partition, offset: String(offset), timestamp }, record);
    const reason = String(record.headers?.frame_number) === '1' ? 'was too dark' : 'was too bright';
    await createQuarantine(createStore(storage()), 'detect')(failed, reason);
  });
  const env = { KAFKA_TOPIC: options.framesTopic, KAFKA_DETECTIONS_TOPIC: options.detectionsTopic };
  const whole = await command('audit', [], env);
  expect(whole).toMatchObject({ code: 0, stdout: expect.stringContaining('2 in failed/') });

  const { stdout } = await command('failed', ['list', '--stage', 'detect', '--reason', 'dark'], env);
  expect(stdout.trim().split('\n')).toEqual([expect.stringMatching(/failed\/detect\/.*yard.*was too dark$/)]);
  const dry = await command('failed', ['redrive', '--stream', 'yard'], env);
  expect(dry.stderr).toBe('2 would be redriven; add --yes to do it\n');
  expect(await Array.fromAsync(options.bucket.list('failed/'))).toHaveLength(2);

  expect((await command('failed', ['purge', '--reason', 'bright', '--yes'], env)).stderr).toBe('1 deleted\n');
  const lost = await command('audit', [], { ...env, S3_PREFIX: 'commands' });
  expect(lost).toMatchObject({ code: 1, stdout: expect.stringContaining('1 missing: yard/s1/2') });
  expect((await command('failed', ['redrive', '--yes'], env)).stderr).toBe('1 redriven\n');
  expect(await Array.fromAsync(options.bucket.list('failed/'))).toEqual([]);
});

test('a replay processes the frames of a time range again, into a folder of its own', async () => {
  const frames = await Promise.all([0, 1, 2, 3, 4].map(frame));
  const options = await publish('replayed', frames);
  const seen: Detection = { class_id: 1, class_name: 'cat', confidence: 0.9, bbox: [10, 10, 60, 60] };
  const before = await Array.fromAsync(options.bucket.list(''));
  const done = await replay({
    kafka,
    framesTopic: options.framesTopic,
    detector: {
      detect: async (batch) =>
        batch.map(({ width, height }) => ({ model: 'other', width, height, detections: [seen] })),
    },
    store: createStore(storage()),
    folder: 'replay/one',
    s3Prefix: 'annotated',
    from: frames[1]?.capturedAt ?? 0,
    to: frames[4]?.capturedAt ?? 0,
    batchSize: 2,
    logger: console,
    progress: () => {},
  });

  expect(done).toBe(3);
  const added = (await Array.fromAsync(options.bucket.list(''))).filter((key) => !before.includes(key));
  const annotated = frames.slice(1, 4).map((one) => `replay/one/${annotatedKey('annotated', one)}`);
  expect(added.filter((key) => key.endsWith('.jpg')).sort()).toEqual(annotated.sort());
  const ndjson = await Promise.all(
    added.filter((key) => key.endsWith('.ndjson')).map(async (key) => String(await options.bucket.read(key))),
  );
  const lines = ndjson.join('').trim().split('\n');
  expect(lines.map((line) => JSON.parse(line))).toMatchObject(
    [1, 2, 3].map((frame_number) => ({ frame_number, model: 'other', detections: [seen] })),
  );
  expect(added.every((key) => key.startsWith('replay/one/'))).toBe(true);
});

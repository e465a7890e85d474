import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { type Detection, encodeFrame } from '@video-pipeline/frame';
import { createTail } from '@video-pipeline/kafka';
import { putShape, type SceneEvent, sceneEventSchema } from '@video-pipeline/scene';
import { afterAll, afterEach, beforeAll, expect, onTestFinished, test, vi } from 'vitest';
import { unique } from '../support/unique.ts';
import { type Rig, startRig } from './handlers-rig.ts';

const STREAM = 'yard';
const COUNT = 100;
const START = Date.UTC(2026, 10, 25, 7);
/** Behind a JPEG's last byte no decoder looks: here stands the number of the frame, for the detector. */
const NUMBER_BYTES = 4;

/**
 * Two people, the second 8 frames behind the first, walk from the left to the right from frame 10 on, 8 px a frame, over
 * the middle at frame 20; stand there; and walk back from 60 on, over the middle at 70. The second is hidden in 45 to 50.
 */
function seenIn(frameNumber: number): Detection[] {
  const people = [person(walk(frameNumber), 110)];
  if (frameNumber < 45 || frameNumber > 50) people.push(person(walk(frameNumber - 8), 230));
  return people;
}
const walk = (frame: number) =>
  80 + 8 * Math.max(0, Math.min(20, frame - 10) - Math.max(0, Math.min(20, frame - 60)));
const person = (x: number, y: number): Detection => ({
  class_id: 0,
  class_name: 'person',
  confidence: 0.9,
  bbox: [x - 20, y - 90, x + 20, y],
});

const scene = {
  zones: {
    right: {
      polygon: [
        [0.5, 0],
        [1, 0],
        [1, 1],
        [0.5, 1],
      ],
    },
  },
  lines: { middle: { from: [0.5, 1], to: [0.5, 0] } },
  events: [
    { type: 'entered_zone', name: 'in', zone: 'right' },
    { type: 'left_zone', name: 'out', zone: 'right' },
    { type: 'stayed_longer', name: 'stays', zone: 'right', seconds: 2 },
    { type: 'line_crossed', name: 'over', line: 'middle', direction: 'right' },
    { type: 'line_crossed', name: 'back', line: 'middle', direction: 'left' },
    { type: 'count_over', name: 'both', zone: 'right', count: 1 },
  ],
};

/** Rule and frame. The middle itself belongs to the zone, and is not yet over the line. */
const EXPECTED = [
  'back 71',
  'back 79',
  // Once the second has been there for half a second.
  'both 33',
  'in 20',
  'in 28',
  'out 71',
  'out 79',
  'over 21',
  'over 29',
  'stays 41',
  // Due at 49, when the second is hidden.
  'stays 51',
];

let rig: Rig;
let hook: Server;
const posted: SceneEvent[] = [];

beforeAll(async () => {
  rig = await startRig((jpeg) => seenIn(jpeg.readUInt32BE(jpeg.length - NUMBER_BYTES)));
  hook = createServer(async (request, response) => {
    posted.push(sceneEventSchema.parse(JSON.parse(await text(request))));
    response.writeHead(204).end();
  }).listen(0, '127.0.0.1');
  await once(hook, 'listening');
});
afterEach(() => rig.reset());
afterAll(async () => {
  hook?.close();
  await rig?.stop();
});

/** Topics and variables of a test's own. */
async function setUp() {
  const id = unique('events');
  const topics = { frames: `${id}-frames`, detections: `${id}-detections`, events: `${id}-events` };
  await rig.createTopics(Object.values(topics));
  const env = {
    KAFKA_DETECTIONS_TOPIC: topics.detections,
    KAFKA_EVENTS_TOPIC: topics.events,
    S3_PREFIX: `${id}-annotated`,
    STREAMS: JSON.stringify([{ id: STREAM, url: 'rtsp://camera', scene }]),
    WEBHOOK_URL: `http://127.0.0.1:${(hook.address() as AddressInfo).port}/`,
  };
  posted.length = 0;
  return { topics, env };
}

async function publish(topic: string, from: number, end: number) {
  const records = Array.from({ length: end - from }, (_, index) => {
    const frame = rig.frame(STREAM, from + index);
    const number = Buffer.alloc(NUMBER_BYTES);
    number.writeUInt32BE(from + index);
    return encodeFrame({ ...frame, jpeg: Buffer.concat([frame.jpeg, number]) });
  });
  await rig.publish(topic, records);
}

async function allOn(topic: string): Promise<SceneEvent[]> {
  const tail = createTail(rig.kafka);
  const events: SceneEvent[] = [];
  for await (const { value } of tail.newest(topic, STREAM, 1_000)) {
    events.unshift(sceneEventSchema.parse(JSON.parse(String(value))));
  }
  await tail.close();
  return events;
}

const told = (events: SceneEvent[]) => events.map(({ rule, at }) => `${rule} ${(at - START) / 100}`).sort();
const done = (stage: 'detect' | 'annotate' | 'notify', topic: string) =>
  vi.waitFor(async () => expect(await rig.lag(stage, topic)).toBe(0), { timeout: 40_000, interval: 100 });

test('a scripted scene gives each event once: on the topic, with frames in S3, and at the webhook', async () => {
  const { topics, env } = await setUp();
  await publish(topics.frames, 0, COUNT);
  await rig.run('detect', topics.frames, [], env);
  await rig.run('annotate', topics.detections, [], env);
  await rig.run('notify', topics.events, [], env);
  await done('detect', topics.frames);
  await done('annotate', topics.detections);
  await done('notify', topics.events);
  const events = await allOn(topics.events);
  expect(told(events)).toEqual(EXPECTED);
  const stored = new Set(await rig.keys(`${env.S3_PREFIX}/`));
  expect(events.flatMap(({ frames }) => frames).filter((key) => !stored.has(key))).toEqual([]);
  expect(posted.map(({ event_id }) => event_id).sort()).toEqual(
    events.map(({ event_id }) => event_id).sort(),
  );
});

test('batches that are all delivered twice give no additional events', async () => {
  const { topics, env } = await setUp();
  await publish(topics.frames, 0, COUNT);
  await rig.run('detect', topics.frames, ['--handler', 'test/e2e/delivered-twice.ts'], env);
  await done('detect', topics.frames);
  expect(told(await allOn(topics.events))).toEqual(EXPECTED);
});

test('detect gives the same events when its process is killed again and again', async () => {
  const { topics, env } = await setUp();
  for (const [from, end] of [
    [0, 24],
    [24, 45],
    [45, COUNT],
  ] as const) {
    await publish(topics.frames, from, end);
    const { process } = await rig.run('detect', topics.frames, ['--batch-size', '7'], env);
    // Some of it is published, maybe not committed; the last batches may be in work.
    await vi.waitFor(async () => expect(await rig.lag('detect', topics.frames)).toBeLessThan(end - from), {
      timeout: 40_000,
    });
    process.kill('SIGKILL');
    await once(process, 'exit');
  }
  await rig.run('detect', topics.frames, [], env);
  await done('detect', topics.frames);
  expect(told(await allOn(topics.events))).toEqual(EXPECTED);
});

test('a zone that is added to the streams file while detect runs gives events', async () => {
  const { topics, env } = await setUp();
  const folder = await mkdtemp(join(tmpdir(), 'events-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const file = join(folder, 'streams.yaml');
  const before = `- id: ${STREAM} # nothing to tell of yet\n`;
  await writeFile(file, before);
  await rig.run('detect', topics.frames, [], { ...env, STREAMS: '', STREAMS_FILE: file });
  await publish(topics.frames, 0, 10);
  await done('detect', topics.frames);
  const { polygon } = scene.zones.right;
  await writeFile(
    file,
    putShape(before, STREAM, { kind: 'zone', name: 'right', polygon, events: true }, file),
  );
  await publish(topics.frames, 10, COUNT);
  await done('detect', topics.frames);
  const expected = ['right-entered 20', 'right-entered 28', 'right-left 71', 'right-left 79'];
  expect(told(await allOn(topics.events))).toEqual(expected);
});

test('the end of a topic is read backwards, in several fetches, up to the requested number of records', async () => {
  const [topic, absent] = [unique('tail'), unique('absent')];
  await rig.createTopics([topic], 3);
  const keys = ['yard', 'gate', 'door'];
  const records = Array.from({ length: 600 }, (_, index) => ({
    key: keys[index % keys.length] ?? '',
    value: Buffer.from(String(index)),
    headers: { number: String(index) },
  }));
  for (let at = 0; at < records.length; at += 50) await rig.publish(topic, records.slice(at, at + 50));
  const tail = createTail(rig.kafka);
  for (const key of keys) {
    const read = [];
    for await (const record of tail.newest(topic, key, 150)) read.push(record);
    const own = records.filter((record) => record.key === key).map(({ value }) => String(value));
    const found = read.filter((record) => String(record.key) === key);
    expect(read.length).toBeLessThanOrEqual(150);
    expect(found.length).toBeGreaterThan(0);
    expect(found.map(({ value }) => String(value))).toEqual(own.toReversed().slice(0, found.length));
    expect(found.map(({ headers }) => String(headers.number))).toEqual(
      found.map(({ value }) => String(value)),
    );
    expect(read.map(({ offset }) => offset)).toEqual(
      read.map(({ offset }) => offset).toSorted((a, b) => b - a),
    );
  }
  await expect(tail.newest(absent, 'yard', 1).next()).rejects.toThrow(
    `can't read the end of ${absent} for 'yard'`,
  );
  await rig.createTopics([absent], 1);
  await expect.poll(async () => (await tail.newest(absent, 'yard', 1).next()).done).toBe(true);
  expect((await tail.newest(topic, 'yard', 1).next()).done).toBe(false);
  await tail.close();
});

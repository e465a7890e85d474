import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import {
  type DetectedFrame,
  encodeDetectedFrame,
  encodeReference,
  type MSKRecord,
} from '@video-pipeline/frame';
import type { StoredObject } from '@video-pipeline/storage';
import { expect, test } from 'vitest';
import { centre } from '../examples/centre-head.ts';
import { createCountPeople } from '../examples/count-people.ts';
import { createPostPeople } from '../examples/post-people.ts';
import { startFakeServer } from './support/fake-server.ts';
import { hasCommand } from './support/has-command.ts';
import { mskEvent } from './support/msk-event.ts';

const EXAMPLES = join(import.meta.dirname, '../examples');
const frame = (frameNumber: number, classes: string[]): DetectedFrame => ({
  streamId: 'gate',
  frameNumber,
  session: 's1',
  capturedAt: 1_795_590_000_000 + frameNumber,
  width: 64,
  height: 48,
  jpeg: Buffer.of(0xff, 0xd8),
  detections: classes.map((class_name) => ({
    class_id: 0,
    class_name,
    confidence: 0.9,
    bbox: [1, 2, 30, 40],
  })),
  model: 'm',
});

const broken = { key: 'gate', value: Buffer.of(), headers: {} };
const toFailed = (failed: string[]) => ({
  putFailed: async ({ offset }: MSKRecord, reason: string) => void failed.push(`${offset}: ${reason}`),
  logger: { warn() {} },
});

test('count-people.ts stores the people of each frame, and puts an invalid record into failed/', async () => {
  const objects = new Map<string, StoredObject>();
  const failed: string[] = [];
  const store = { put: async (object: StoredObject) => void objects.set(object.key, object) };
  const handler = createCountPeople({ store, ...toFailed(failed) });
  const place = { topic: 'video-frames', partition: 0, offset: 4, annotated_key: 'k' };
  const records = [
    encodeDetectedFrame(frame(0, ['person', 'cat', 'person'])),
    encodeReference(frame(1, []), place),
  ];
  const event = mskEvent('detections', [[...records, broken]], { offset: 7 });
  await handler(event);
  await handler(event);
  expect([...objects.keys()]).toEqual(['people/detections-0-7.json']);
  expect(JSON.parse(String(objects.get('people/detections-0-7.json')?.body))).toEqual([
    { id: 'gate/s1/0', captured_at: 1_795_590_000_000, people: 2 },
    { id: 'gate/s1/1', captured_at: 1_795_590_000_001, people: 0 },
  ]);
  expect(failed).toEqual(Array(2).fill("9: record header 'stream_id' is missing"));
});

test('count-people.ts fails the batch when the store fails, and puts nothing into failed/', async () => {
  const failed: string[] = [];
  const store = { put: () => Promise.reject(new Error('503 Slow Down')) };
  const handler = createCountPeople({ store, ...toFailed(failed) });
  const event = mskEvent('detections', [[encodeDetectedFrame(frame(0, ['person'])), broken]]);
  await expect(handler(event)).rejects.toThrow('503');
  expect(failed).toEqual([]);
});

test('post-people.ts posts frames with people in parallel, and puts rejected ones into failed/', async () => {
  const posts: unknown[] = [];
  const { promise: bothCame, resolve } = Promise.withResolvers<void>();
  let answer = (_body: unknown) => 503;
  const receiver = await startFakeServer(async ({ body }) => {
    const post = JSON.parse(String(body));
    if (posts.push(post) === 2) resolve();
    await bothCame;
    return { status: answer(post) };
  });
  const failed: string[] = [];
  const handler = createPostPeople({ url: receiver.url, ...toFailed(failed) });
  const records = [['person', 'cat'], ['cat'], ['person', 'person']].map((classes, number) =>
    encodeDetectedFrame(frame(number, classes)),
  );
  const event = mskEvent('detections', [[...records, broken]]);
  const first = { id: 'gate/s1/0', captured_at: 1_795_590_000_000, people: 1 };
  const second = { id: 'gate/s1/2', captured_at: 1_795_590_000_002, people: 2 };
  try {
    await expect(handler(event)).rejects.toThrow('the receiver of people answered 503');
    expect(posts.splice(0)).toEqual(expect.arrayContaining([first, second]));
    expect(failed).toEqual([]);
    answer = (body) => ((body as typeof first).people > 1 ? 422 : 204);
    await handler(event);
  } finally {
    await receiver.close();
  }
  expect(posts).toHaveLength(2);
  expect(posts).toEqual(expect.arrayContaining([first, second]));
  expect(failed.sort()).toEqual([
    '2: the receiver of people answered 422',
    "3: record header 'stream_id' is missing",
  ]);
});

test('centre-head.ts decodes the peaks of each picture of a batch to boxes', () => {
  const [classes, rows, columns] = [2, 3, 4];
  const heat = new Float32Array(2 * classes * rows * columns);
  const size = new Float32Array(2 * 2 * rows * columns);
  const at = (map: number, row: number, column: number) => (map * rows + row) * columns + column;
  // The second picture: class 1 beside a lower score, and class 0 in a corner.
  heat[at(3, 1, 2)] = 0.9;
  heat[at(3, 1, 1)] = 0.8;
  heat[at(2, 0, 3)] = 0.7;
  // The start of the next row is no neighbour of the end of a row.
  heat[at(2, 1, 0)] = 0.75;
  for (const [row, column] of [
    [1, 2],
    [0, 3],
    [1, 0],
  ] as const) {
    size[at(2, row, column)] = 8;
    size[at(3, row, column)] = 6;
  }
  const outputs = [
    { name: 'size', dims: [2, 2, rows, columns], data: size },
    { name: 'heat', dims: [2, classes, rows, columns], data: heat },
  ];
  const options = { threshold: 0.5, inputWidth: 16, inputHeight: 12 };
  const found = centre
    .decode(outputs, 1, options)
    .map(({ score, ...one }) => ({ ...one, score: score.toFixed(2) }));
  expect(found).toEqual([
    { classId: 0, score: '0.70', box: [10, -1, 18, 5] },
    { classId: 0, score: '0.75', box: [-2, 3, 6, 9] },
    { classId: 1, score: '0.90', box: [6, 3, 14, 9] },
  ]);
  expect(centre.decode(outputs, 0, options)).toEqual([]);
  heat.fill(Number.NaN);
  expect(centre.decode(outputs, 1, options)).toEqual([]);
});

test.skipIf(!hasCommand('python3'))('subscribe.py reads the records of detect (needs Python)', async () => {
  const { headers } = encodeDetectedFrame(frame(3, ['person']));
  // As bytes: a header of somebody else need be no text.
  const others = [['other', Buffer.of(0xff, 0xfe)]];
  const bytes = [...Object.entries(headers), ...others].map(([name, value]) => [
    name,
    [...Buffer.from(value ?? '')],
  ]);
  const record = JSON.stringify(bytes);
  const script = `
import json, sys
sys.path.insert(0, sys.argv[1])
import subscribe
headers = [(name, bytes(value)) for name, value in json.loads(sys.argv[2])]
print(json.dumps(subscribe.read(headers)))`;
  const { stdout } = await promisify(execFile)('python3', ['-B', '-c', script, EXAMPLES, record]);
  expect(JSON.parse(stdout)).toEqual({
    stream_id: 'gate',
    session: 's1',
    frame_number: 3,
    captured_at: 1_795_590_000_003,
    detections: frame(3, ['person']).detections,
  });
});

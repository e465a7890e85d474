import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { readConfig } from '@video-pipeline/config';
import {
  addCheckpoint,
  checkpointOf,
  decodeSeenFrame,
  encodeDetectedFrame,
  type MSKRecord,
  toLambdaRecord,
} from '@video-pipeline/frame';
import { type Records, TooLargeError } from '@video-pipeline/kafka';
import { STAGE_VARIABLES } from '@video-pipeline/stages';
import {
  type Bucket,
  createPutFailed,
  createReader,
  type MergingStore,
  objectsOf,
  type StorageSettings,
  type StoredObject,
} from '@video-pipeline/storage';
import { expect, test, vi } from 'vitest';
import { toS3Destination } from '../../event-source/src/on-failure.ts';
import { type FailedEntry, FailedEntryError, listFailed, purge, readFailed, redrive } from './failed.ts';

const TOPICS = readConfig(STAGE_VARIABLES, {});

/** A bucket in memory that counts the bytes it gives away. */
function memory() {
  const objects = new Map<string, Buffer>();
  const read = { bytes: 0 };
  const bucket = {
    async *list(prefix: string) {
      for (const key of [...objects.keys()].sort()) if (key.startsWith(prefix)) yield key;
    },
    async head(key: string, most: number) {
      const all = objects.get(key) ?? Buffer.alloc(0);
      const bytes = all.subarray(0, most);
      read.bytes += bytes.length;
      return { bytes, size: all.length };
    },
    async remove(keys: string[]) {
      for (const key of keys) objects.delete(key);
    },
  } as unknown as Bucket;
  const put = async ({ key, body }: StoredObject) => void objects.set(key, Buffer.from(body));
  const merge: MergingStore['merge'] = ({ merge, ...object }) =>
    put({ ...object, body: merge(objects.get(object.key)?.toString()) });
  return { objects, read, bucket, put, merge };
}

const record = (
  offset: number,
  value: string,
  headers = [{ stream_id: [...Buffer.from('gate')] }],
): MSKRecord => ({
  topic: 'video-frames',
  partition: 2,
  offset,
  timestamp: 5,
  timestampType: 'CREATE_TIME',
  key: '',
  value,
  headers,
});
const producer = () => ({ send: vi.fn(async () => []) });

test('entries are read in parallel, and listed in the order of their keys', async () => {
  const { bucket, put, merge } = memory();
  const offsets = Array.from({ length: 40 }, (_, index) => 100 + index);
  for (const offset of offsets)
    await createPutFailed({ put, merge }, 'detect')(record(offset, 'AAAA'), 'dark');
  let [reading, most] = [0, 0];
  const head: Bucket['head'] = async (key, length) => {
    most = Math.max(most, ++reading);
    // The later its key, the sooner it is answered.
    await sleep(20 - (Number(key.slice(-3)) - 100) / 2);
    reading--;
    return bucket.head(key, length);
  };
  const listed = await Array.fromAsync(listFailed({ ...bucket, head }), ({ record }) => record.offset);
  expect(listed).toEqual(offsets);
  expect(most).toBe(16);
});

test('a list reads the first bytes of each entry, and omits only a long value', async () => {
  const { bucket, put, read, merge } = memory();
  const putFailed = createPutFailed({ put, merge }, 'detect');
  await putFailed(record(1, Buffer.alloc(3_000_000).toString('base64')), 'is no JPEG');
  await putFailed(record(2, 'AAAA'), 'is no JPEG either');
  await putFailed(record(3, 'AAAA', Array(40_000).fill({ a: [1] })), 'has many headers');
  const entries = await Array.fromAsync(listFailed(bucket, { stream: 'gate' }));
  expect(entries).toMatchObject([
    {
      stage: 'detect',
      reason: 'is no JPEG',
      bytes: expect.closeTo(3_000_000, -3),
      record: { offset: 1, value: '' },
    },
    { reason: 'is no JPEG either', bytes: 3, record: record(2, 'AAAA') },
  ]);
  const all = await Array.fromAsync(listFailed(bucket));
  expect(all.map(({ reason }) => reason)).toContain('has many headers');
  expect(read.bytes).toBeLessThan(200_000);
});

test('a record is redriven completely, although the list reads only its first bytes', async () => {
  const { bucket, put, objects, merge } = memory();
  const value = Buffer.alloc(100_000, 7);
  await createPutFailed({ put, merge }, 'detect')(record(1, value.toString('base64')), 'was dark');
  const [entry] = await Array.fromAsync(listFailed(bucket));
  const { send } = producer();
  await redrive(bucket, { send }, entry as FailedEntry, TOPICS);
  expect(send).toHaveBeenCalledExactlyOnceWith(
    expect.objectContaining({ messages: [expect.objectContaining({ value })] }),
  );
  expect(objects.size).toBe(0);
});

test('an entry that only refers to its record names the position, and is not redriven', async () => {
  const { bucket, put, objects, merge } = memory();
  const reference = { first_offset: 3, last_offset: 9, bytes: 408_000 };
  await createPutFailed({ put, merge }, 'event-source')(record(9, ''), 'inflates', {
    code: 'BATCH_TOO_LARGE',
    reference,
  });
  const [entry] = await Array.fromAsync(listFailed(bucket));
  expect(entry).toMatchObject({ code: 'BATCH_TOO_LARGE', reason: 'inflates', reference });
  expect(entry?.bytes).toBe(408_000);
  expect(await Array.fromAsync(listFailed(bucket, { code: 'BATCH_TOO_LARGE' }))).toHaveLength(1);
  expect(await Array.fromAsync(listFailed(bucket, { code: 'RECORD_INVALID' }))).toEqual([]);
  const { send } = producer();
  await expect(redrive(bucket, { send }, entry as FailedEntry, TOPICS)).rejects.toThrow(
    'its records are offsets 3 to 9 of video-frames-2',
  );
  expect([send.mock.calls.length, objects.size]).toEqual([0, 1]);
});

test('an invalid entry is reported, and the others are listed', async () => {
  const { bucket, put, merge } = memory();
  await put({ key: 'failed/detect/a-0-1', body: 'junk', contentType: '' });
  await put({ key: 'failed/detect/b-0-1', body: '', contentType: '' });
  await put({ key: 'failed/detect/c-0-1', body: Buffer.alloc(9_000_000, '['), contentType: '' });
  await createPutFailed({ put, merge }, 'detect')(record(1, 'AAAA'), 'r'.repeat(5_000));
  const others: string[] = [];
  const entries = await Array.fromAsync(listFailed(bucket, {}, ({ message }) => others.push(message)));
  expect(others).toHaveLength(3);
  expect(entries.map(({ reason }) => reason.length)).toEqual([1_003]);
  await expect(readFailed(bucket, 'failed/detect/c-0-1')).rejects.toThrow('has 9000000 bytes, over');
});

test('an entry with long headers is listed with those at its beginning', async () => {
  const { bucket, put, merge } = memory();
  const headers = [
    { stream_id: [...Buffer.from('gate')] },
    { frame_number: [51] },
    { detections: Array(700_000).fill(91) },
  ];
  await createPutFailed({ put, merge }, 'annotate')(
    record(1, 'AAAA', headers as never),
    'has many detections',
  );
  const [entry] = await Array.fromAsync(listFailed(bucket, { stream: 'gate' }));
  expect(entry?.record.headers).toEqual(headers.slice(0, 2));
});

/** A batch that an event-source mapping gave up on, as written locally and by Lambda. */
async function giveUp(
  put: (object: StoredObject) => Promise<void>,
  records: MSKRecord[],
  functionName: string,
) {
  const event = {
    eventSource: 'aws:kafka' as const,
    eventSourceArn: 'arn:aws:kafka:us-east-1:123456789012:cluster/x/y',
    bootstrapServers: 'b-1:9098',
    records: { 'video-frames-2': records },
  };
  const batch = {
    records: records.map(({ topic, partition, offset, timestamp }) => ({
      topic,
      partition,
      offset,
      timestamp,
    })),
  };
  await toS3Destination(
    { put },
    'aws/lambda',
  )({
    event,
    batch: batch as never,
    condition: 'RetryAttemptsExhausted',
    invocations: 11,
    functionName,
  });
}

test('a batch that Lambda gave up on is listed by its stage, redriven completely and in order, and removed', async () => {
  const { bucket, put, objects } = memory();
  const records = [7, 8, 9].map((offset) => record(offset, 'AAAA'));
  await giveUp(put, records, 'functions/src/detect.ts');
  const aws =
    'arn:aws:lambda:us-east-1:123456789012:function:video-pipeline-production-AnnotateFunction-abcd';
  await giveUp(put, [{ ...record(1, 'BBBB'), topic: 'detections' }], aws);

  expect(await Array.fromAsync(listFailed(bucket, { stage: 'annotate' }))).toMatchObject([
    { stage: 'annotate', key: 'aws/lambda/detections-2-1-5', record: { topic: 'detections' } },
  ]);
  const [entry, ...others] = await Array.fromAsync(listFailed(bucket, { stage: 'detect', stream: 'gate' }));
  expect(others).toEqual([]);
  expect(entry).toMatchObject({ reason: 'RetryAttemptsExhausted after 11 attempts, 3 records', bytes: 9 });

  const sender = producer();
  await redrive(bucket, sender, entry as FailedEntry, TOPICS);
  expect(sender.send).toHaveBeenCalledExactlyOnceWith({
    topic: 'video-frames',
    messages: records.map(() => expect.objectContaining({ value: Buffer.from('AAAA', 'base64') })),
  });
  expect([...objects.keys()]).toEqual(['aws/lambda/detections-2-1-5']);
});

test('a list of batches reads two at a time, and keeps no value of their records', async () => {
  const { bucket, put } = memory();
  for (let offset = 0; offset < 9; offset++)
    await giveUp(put, [record(offset, 'AAAA'), record(offset + 100, 'BBBB')], 'functions/src/detect.ts');
  let [reading, most] = [0, 0];
  const head: Bucket['head'] = async (key, length) => {
    most = Math.max(most, ++reading);
    await sleep(1);
    reading--;
    return bucket.head(key, length);
  };
  const entries = await Array.fromAsync(listFailed({ ...bucket, head }));
  expect(most).toBe(2);
  const [{ key, batch = [], bytes } = { key: '' }] = entries;
  expect({ entries: entries.length, bytes, values: batch.map(({ value }) => value) }).toEqual({
    ...{ entries: 9, bytes: 6, values: ['', ''] },
  });
  const whole = await readFailed(bucket, key);
  expect(whole.batch?.map(({ value }) => value)).toEqual(['AAAA', 'BBBB']);
});

test('a batch with records of other streams is not deleted for one stream', async () => {
  const { bucket, put, objects } = memory();
  const yard = [{ stream_id: [...Buffer.from('yard')] }];
  await giveUp(put, [record(7, 'AAAA'), record(8, 'BBBB', yard)], 'functions/src/detect.ts');
  const [entry] = await Array.fromAsync(listFailed(bucket, { stream: 'gate' }));
  await expect(purge(bucket, entry as FailedEntry, { stream: 'gate' })).rejects.toThrow(
    'aws/lambda/video-frames-2-7-5 also holds records of other streams',
  );
  expect(objects.size).toBe(1);
  await purge(bucket, entry as FailedEntry, {});
  expect(objects.size).toBe(0);
});

test('a batch that Kafka rejects is kept, and an object that is no batch is reported', async () => {
  const { bucket, put, objects } = memory();
  await giveUp(put, [record(7, 'AAAA')], 'functions/src/detect.ts');
  await put({ key: 'aws/lambda/x', body: '{"payload":"{}"}', contentType: 'application/json' });
  const told: string[] = [];
  const [entry] = await Array.fromAsync(listFailed(bucket, {}, ({ message }) => void told.push(message)));
  const send = vi.fn().mockRejectedValue(new Error('no broker'));
  await expect(redrive(bucket, { send }, entry as FailedEntry, TOPICS)).rejects.toThrow('no broker');
  expect(objects.size).toBe(2);
  expect(told).toEqual([expect.stringMatching(/^aws\/lambda\/x is no batch of records: /)]);
});

test('an entry whose topic does not exist is named and kept, and nothing of its batch is sent', async () => {
  const { bucket, put, objects } = memory();
  await giveUp(put, [record(7, 'AAAA'), { ...record(8, 'BBBB'), topic: 'gone' }], 'functions/src/detect.ts');
  const [entry] = await Array.fromAsync(listFailed(bucket));
  const { send } = producer();
  await expect(redrive(bucket, { send }, entry as FailedEntry, TOPICS)).rejects.toThrow(
    new FailedEntryError(
      'aws/lambda/video-frames-2-7-5 came from gone, which is not a topic of this pipeline: they are video-frames, detections, events',
    ),
  );
  expect([send.mock.calls.length, objects.size]).toEqual([0, 1]);
});

const protocolError = (type: string) => Object.assign(new Error(`${type} it is`), { type });

test.each([
  ['its topic was deleted meanwhile', protocolError('UNKNOWN_TOPIC_OR_PARTITION')],
  ['kafkajs gave up its retries', new Error('often', { cause: protocolError('TOPIC_AUTHORIZATION_FAILED') })],
  ['it is too large', new TooLargeError('video-frames', [{ value: 'AAAA' }])],
])('an entry that the brokers reject does not fail the others: %s', async (_, error) => {
  const { bucket, put, objects, merge } = memory();
  await createPutFailed({ put, merge }, 'detect')(record(1, 'AAAA'), 'was dark');
  const [entry] = await Array.fromAsync(listFailed(bucket));
  const send = vi.fn().mockRejectedValue(error);
  const refused = redrive(bucket, { send }, entry as FailedEntry, TOPICS);
  await expect(refused).rejects.toThrow(FailedEntryError);
  await expect(refused).rejects.toThrow(
    `failed/detect/video-frames-2-1 can't be put back on video-frames: ${error.message}`,
  );
  expect(objects.size).toBe(1);
});

test('a batch with a record without headers does not fail the list', async () => {
  const { bucket, put } = memory();
  await giveUp(put, [record(7, 'AAAA')], 'functions/src/detect.ts');
  await giveUp(put, [{ ...record(8, 'BBBB'), headers: undefined as never }], 'functions/src/detect.ts');
  const told: string[] = [];
  const entries = listFailed(bucket, { stream: 'gate' }, ({ message }) => void told.push(message));
  expect(await Array.fromAsync(entries)).toHaveLength(1);
  expect(told).toEqual([expect.stringMatching(/^aws\/lambda\/video-frames-2-8-5 is no batch of records: /)]);
});

test('records that fail again during a redrive stay in failed/', async () => {
  const { bucket, put, objects, merge } = memory();
  // As S3 lists: a page shows what was added since the page before.
  bucket.list = async function* (prefix) {
    const page: Bucket['page'] = async (_, { after = '' } = {}) => {
      const keys = [...objects.keys()].sort().filter((key) => key.startsWith(prefix) && key > after);
      const some = keys.slice(0, 2).map((key) => ({ key, stored: 0, etag: '', size: 0 }));
      return keys.length > 2 ? { objects: some, next: some.at(-1)?.key ?? '' } : { objects: some };
    };
    for await (const { key } of objectsOf({ page }, prefix)) yield key;
  };
  const putFailed = createPutFailed({ put, merge }, 'detect');
  for (const offset of [100, 101, 102]) await putFailed(record(offset, 'AAAA'), 'is no JPEG');
  let end = 103;
  const send = vi.fn(async () => {
    await putFailed(record(end++, 'AAAA'), 'is no JPEG');
    return [];
  });
  for await (const entry of listFailed(bucket)) {
    await redrive(bucket, { send }, entry, TOPICS);
    if (send.mock.calls.length > 20) break;
  }
  expect(send).toHaveBeenCalledTimes(3);
  expect([...objects.keys()]).toEqual(
    [103, 104, 105].map((offset) => `failed/detect/video-frames-2-${offset}`),
  );
});

/** The error of an S3 API for an object that is not there. */
async function gone(): Promise<unknown> {
  const server = createServer((_, answer) =>
    answer.writeHead(404).end('<Error><Code>NoSuchKey</Code></Error>'),
  );
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  vi.stubEnv('AWS_ACCESS_KEY_ID', 'x');
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'x');
  const settings = { S3_BUCKET: 'b', AWS_REGION: 'us-east-1', AWS_ENDPOINT_URL: `http://127.0.0.1:${port}` };
  const bucket = createReader(settings as StorageSettings);
  const error = await bucket.head('failed/x', 1).catch((error) => error);
  bucket.close();
  server.close();
  vi.unstubAllEnvs();
  return error;
}

test('an entry that is deleted during a list does not fail the list', async () => {
  const { bucket, put, merge } = memory();
  const putFailed = createPutFailed({ put, merge }, 'detect');
  for (const offset of [1, 2]) await putFailed(record(offset, 'AAAA'), 'is no JPEG');
  const { head } = bucket;
  bucket.head = async (key, most) => {
    if (key.endsWith('-1')) throw await gone();
    return head(key, most);
  };
  expect(await Array.fromAsync(listFailed(bucket))).toMatchObject([{ record: { offset: 2 } }]);
});

test('a redriven record has no checkpoint', async () => {
  const { bucket, put, merge } = memory();
  const size = { width: 4, height: 3 };
  const frame = {
    streamId: 'gate',
    frameNumber: 7,
    session: 's',
    capturedAt: 5,
    ...size,
    jpeg: Buffer.from('x'),
  };
  const seen = { ...frame, detections: [], model: 'm' };
  const encoded = encodeDetectedFrame(seen);
  addCheckpoint(encoded, { source: 'video-frames-2', offset: 7, state: 'former' });
  const place = { topic: 'detections', partition: 2, offset: '3', timestamp: 5 };
  await createPutFailed({ put, merge }, 'annotate')(toLambdaRecord(place, encoded as never), 'is broken');
  const [entry] = await Array.fromAsync(listFailed(bucket));
  const send = vi.fn(async (_: Records) => []);
  await redrive(bucket, { send }, entry as FailedEntry, TOPICS);
  const [message] = send.mock.calls[0]?.[0].messages ?? [];
  expect(decodeSeenFrame(message as never)).toEqual(seen);
  expect(checkpointOf(message as never)).toBeUndefined();
});

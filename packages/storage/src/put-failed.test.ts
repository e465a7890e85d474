import type { MSKRecord } from '@video-pipeline/frame';
import { expect, test } from 'vitest';
import { MemoryBucket } from '../../../test/support/memory-bucket.ts';
import { createPutFailed } from './put-failed.ts';

const KEY = 'failed/detect/video-frames-2-7';
const record: MSKRecord = {
  ...{ topic: 'video-frames', partition: 2, offset: 7, timestamp: 1_700_000_000_000 },
  ...{ timestampType: 'CREATE_TIME', key: 'Z2F0ZQ==', value: 'AAAA', headers: [] },
};
const entries = ({ objects }: MemoryBucket) =>
  Object.fromEntries([...objects].map(([key, { body }]) => [key, JSON.parse(String(body))]));

test('a record that is delivered again has one entry, with the newer reason', async () => {
  const bucket = new MemoryBucket();
  const putFailed = createPutFailed(bucket, 'detect');
  await putFailed(record, 'is no JPEG');
  await putFailed(record, 'is no JPEG either');
  expect(entries(bucket)).toMatchObject({ [KEY]: { reason: 'is no JPEG either', record } });
  expect(bucket.objects.size).toBe(1);
});

test('a new failed record is written without a read', async () => {
  const bucket = new MemoryBucket();
  let writes = 0;
  bucket.beforePut = () => void writes++;
  await createPutFailed(bucket, 'detect')(record, 'is no JPEG');
  expect([writes, bucket.reads]).toEqual([1, 0]);
});

test.each([
  ['timestamp', 1_800_000_000_000],
  ['key', 'eWFyZA=='],
  ['value', 'BBBB'],
])(
  'a record of a new cluster at the same offset, with another %s, replaces no entry',
  async (name, value) => {
    const bucket = new MemoryBucket();
    const putFailed = createPutFailed(bucket, 'detect');
    await putFailed(record, 'of the first cluster');
    const other = { ...record, [name]: value };
    // Twice: its batch is delivered again.
    for (const reason of ['of the second', 'of the second, again']) await putFailed(other, reason);
    expect(entries(bucket)).toMatchObject({
      [KEY]: { reason: 'of the second, again', record: other },
      [`${KEY}-1700000000000`]: { reason: 'of the first cluster', record },
    });
  },
);

test('an earlier entry is kept when the process ends between any two writes', async () => {
  for (const fatal of [1, 2, 3]) {
    const bucket = new MemoryBucket();
    const putFailed = createPutFailed(bucket, 'detect');
    await putFailed(record, 'of the first cluster');
    let writes = 0;
    bucket.beforePut = () => {
      if (++writes === fatal) throw new Error('ended');
    };
    const other = { ...record, value: 'BBBB' };
    await expect(putFailed(other, 'of the second')).rejects.toThrow('ended');
    expect(Object.values(entries(bucket)).map(({ reason }) => reason)).toContain('of the first cluster');
    bucket.beforePut = () => {};
    await putFailed(other, 'of the second');
    const reasons = Object.values(entries(bucket)).map(({ reason }) => reason);
    expect(reasons.sort()).toEqual(['of the first cluster', 'of the second']);
  }
});

test('an invalid entry at the key is moved away, too', async () => {
  const bucket = new MemoryBucket();
  await bucket.put({ key: KEY, body: 'junk' });
  await createPutFailed(bucket, 'detect')(record, 'is no JPEG');
  expect([...bucket.objects.keys()].sort()).toEqual([KEY, `${KEY}-0`]);
});

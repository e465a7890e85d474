import { failedKey, LOST_BATCHES, type MSKRecord } from '@video-pipeline/frame';
import { type Bucket, createPutFailed } from '@video-pipeline/storage';
import { expect, test } from 'vitest';
import { MemoryBucket } from '../../../test/support/memory-bucket.ts';
import { failedRecords } from './failed-records.ts';

const NOW = Date.UTC(2026, 10, 25, 7);

class ListedBucket extends MemoryBucket {
  async *list(prefix: string) {
    for (const { key } of (await this.page(prefix)).objects) yield key;
  }

  async head(key: string, most: number) {
    const bytes = await this.read(key);
    return { bytes: bytes.subarray(0, most), size: bytes.length };
  }

  close(): void {}
}

const record = (offset: number, timestamp: number): MSKRecord => ({
  ...{ topic: 'video-frames', partition: 2, offset, timestamp, timestampType: 'CREATE_TIME' },
  ...{ key: '', value: 'AAAA', headers: [{ stream_id: [...Buffer.from('gate')] }] },
});

async function read(bucket: Bucket) {
  const unreadable = new Set<string>();
  const failed = await failedRecords(bucket, unreadable);
  return {
    failed,
    unreadable,
    has: (offset: number, timestamp: number) => failed.has(record(offset, timestamp)),
  };
}

test('an entry matches only a record with its timestamp, also if S3 stored the entry before that time', async () => {
  const bucket = new ListedBucket();
  bucket.now = NOW;
  await createPutFailed(bucket, 'detect')(record(1, NOW + 60_000), 'is no JPEG');
  const { has } = await read(bucket);
  expect(await has(1, NOW + 60_000)).toBe(true);
  expect(await has(1, NOW + 90_000)).toBe(false);
});

test('an invalid object in failed/ does not end the audit, and is named once', async () => {
  const bucket = new ListedBucket();
  bucket.now = NOW;
  const key = failedKey('detect', record(1, NOW));
  await bucket.put({ key, body: 'junk' });
  const { has, unreadable } = await read(bucket);
  expect([await has(1, NOW + 60_000), await has(1, NOW + 60_000)]).toEqual([false, false]);
  expect([...unreadable]).toEqual([key]);
});

test('a record in failed/ and in a lost batch is counted once', async () => {
  const bucket = new ListedBucket();
  bucket.now = NOW;
  const records = [record(1, NOW), record(2, NOW)];
  await createPutFailed(bucket, 'detect')(records[0] as MSKRecord, 'is no JPEG');
  const batch = {
    requestContext: { functionArn: 'functions/src/detect.ts', condition: 'RetryAttemptsExhausted' },
    timestamp: new Date(NOW).toISOString(),
    payload: { records: { 'video-frames-2': records } },
  };
  await bucket.put({ key: `${LOST_BATCHES}/one`, body: JSON.stringify(batch) });
  const { failed, has } = await read(bucket);
  expect([...failed.keys()]).toEqual(records.map((one) => failedKey('detect', one)));
  expect([await has(2, NOW), await has(2, NOW + 60_000)]).toEqual([true, false]);
});

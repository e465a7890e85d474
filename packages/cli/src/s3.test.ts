import { mkdtempDisposable, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { annotatedKey, HOUR_MS } from '@video-pipeline/frame';
import { expect, test } from 'vitest';
import { MemoryBucket } from '../../../test/support/memory-bucket.ts';
import { copied, listNewest, newestBelow } from './s3.ts';

const T0 = Date.UTC(2026, 10, 25, 7);
const hour = 'annotated/gate/date=2026-11-25/hour=07';

test('an object that can not be downloaded is named, and all others are downloaded', async () => {
  await using root = await mkdtempDisposable(join(tmpdir(), 'copied-'));
  const folder = join(root.path, 'copies');
  const bucket = new MemoryBucket();
  const keys = [
    `${hour}/${T0}-1.jpg`,
    `${hour}/${T0}-${T0}-mine.tar`,
    'annotated/gate/',
    `annotated/${'n'.repeat(300)}/1.jpg`,
    'annotated/../../../out.jpg',
    `${hour}/${T0}-1.jpg/within.jpg`,
    `${hour}/${T0 + 9}-2.jpg`,
  ];
  for (const key of keys) await bucket.put({ key, body: 'a body' });
  const { objects } = await bucket.page('');
  const gone = { key: `${hour}/gone.jpg`, stored: 0, etag: '', size: 0 };
  const named: string[] = [];
  const onForeign = ({ message }: Error) => void named.push(message);
  const files = await Array.fromAsync(copied(bucket, [gone, ...objects], { folder, all: true, onForeign }));
  expect(files).toEqual([join(folder, keys[0] ?? ''), join(folder, keys.at(-1) ?? '')]);
  expect(await readFile(files[1] ?? '', 'utf8')).toBe('a body');
  expect(named).toEqual([
    expect.stringContaining('the key "annotated/../../../out.jpg" is no name of a file'),
    expect.stringContaining('the key "annotated/gate/" is no name of a file'),
    expect.stringContaining('EEXIST'),
    `${keys[1]} is no archive of this pipeline`,
    expect.stringContaining('ENAMETOOLONG'),
  ]);
});

test('in a bucket with years of pictures, the newest is found by the last hours of each stream', async () => {
  const bucket = new MemoryBucket();
  for (const streamId of ['gate', 'yard']) {
    for (let frameNumber = 0; frameNumber < 3_000; frameNumber++) {
      bucket.now = T0 + frameNumber * HOUR_MS;
      await bucket.put({
        key: annotatedKey('annotated', { streamId, frameNumber, capturedAt: bucket.now }),
        body: '',
      });
    }
  }
  bucket.now -= 1;
  await bucket.put({ key: 'annotated/yard/date=zzz/foreign.jpg', body: '' });
  let listed = 0;
  const page: MemoryBucket['page'] = async (...asked) => {
    const found = await bucket.page(...asked);
    listed += found.objects.length;
    return found;
  };
  const reader = Object.assign(Object.create(bucket), { page });
  const [newest] = await newestBelow(reader, 'annotated/');
  // The newest of both streams are of the same second: s3-list shows that of the later key first.
  expect(newest?.key).toMatch(/^annotated\/yard\/date=2027.*-2999\.jpg$/);
  expect(listed).toBe(2);
  expect(await newestBelow(reader, 'nothing/')).toEqual([]);
  listed = 0;
  const most = await listNewest(reader, 'annotated/', 30, 2_000);
  expect(most).toMatchObject({ count: 2_000, complete: false });
  // A page of a thousand objects more shows that there are more.
  expect(listed).toBe(3_000 + 2 * 30);
  expect(most.newest.map(({ key }) => Number(/-(\d+)\.jpg$/.exec(key)?.[1]))).toEqual(
    Array.from({ length: 30 }, (_, index) => 2_999 - Math.floor(index / 2)),
  );
  const whole = await listNewest(reader, 'annotated/', 31);
  expect(whole).toMatchObject({ count: 6_001, complete: true });
  expect(whole.newest.filter(({ key }) => !key.includes('zzz'))).toEqual(most.newest);
});

import { type FileHandle, open, readdir, readFile, rm, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { HOUR_MS } from '@video-pipeline/frame';
import { type ByteRange, isChanged, type ListedObject } from '@video-pipeline/storage';
import { expect, test, vi } from 'vitest';
import { MemoryBucket } from '../../../test/support/memory-bucket.ts';
import {
  AMPLE,
  allOf,
  NOT_KEPT,
  type Shot,
  START,
  seenAs,
  store,
} from '../../../test/support/stored-shots.ts';
import { fileList, openDatabase } from './duckdb.ts';
import { FileCache } from './file-cache.ts';
import { fittingFrom, mayContainStream, timesOf } from './fitting.ts';
import { CLASS_LIST, type RowGroup } from './footer.ts';
import { compact, Tables } from './index.ts';
import { PART_NAMES } from './schema.ts';

/** Detections of three row groups, the columns of which are told from others. */
async function threeGroups() {
  const database = await openDatabase();
  const path = join(database.folder, 'three.parquet');
  await database.run(
    `COPY (SELECT 'camera-' || n // 2048 AS stream_id, n AS captured_at, n % 7 AS frame_number,
       CASE WHEN n = 5000 THEN 'o''brien \u72d7' ELSE 'car' END AS class_name, random() AS x1 FROM range(6144) t(n))
     TO '${path}' (FORMAT parquet, PARQUET_VERSION v2, COMPRESSION zstd, ROW_GROUP_SIZE 2048)`,
  );
  const bucket = new MemoryBucket();
  await bucket.put({ key: 'a', body: await readFile(path) });
  const { objects } = await bucket.page('');
  const { signal } = new AbortController();
  return { database, bucket, object: objects[0] as ListedObject, signal };
}
const everyGroup = { columns: ['class_name'], mayMatch: () => true };

test('only the needed columns and row groups of a file are read, and DuckDB can read each cached part', async () => {
  const { database, bucket, object, signal } = await threeGroups();
  using files = new FileCache(bucket, database.folder, 1e6, 256).use();
  const read = vi.spyOn(bucket, 'read');
  const wanted = {
    columns: ['captured_at', 'class_name'],
    mayMatch: (group: RowGroup) => mayContainStream(group, 'camera-1') || timesOf(group).from > 4_000,
  };
  const paths = await files.paths([object], wanted, signal);
  expect(paths).toHaveLength(2);
  const sql = (columns: string) => `SELECT ${columns} FROM read_parquet(${fileList(paths)})`;
  const [row] = await database.run(sql('count(*) AS n, min(captured_at) AS least, max(captured_at) AS most'));
  expect(row).toEqual({ n: 4096n, least: 2048n, most: 6143n });
  expect(await database.run(`${sql('captured_at')} WHERE class_name = 'o''brien \u72d7'`)).toEqual([
    { captured_at: 5000n },
  ]);
  // A column that was not asked for is no data, and not zeros.
  await expect(database.run(sql('sum(x1)'))).rejects.toThrow();
  const bytes = read.mock.calls.reduce((sum, [, part]) => sum + (part as ByteRange).length, 0);
  expect(bytes).toBeLessThan(object.size / 2);
  // What is there is not read again; another column alone is.
  read.mockClear();
  expect(await files.paths([object], wanted, signal)).toEqual(paths);
  expect(read).not.toHaveBeenCalled();
  await files.paths([object], { ...wanted, columns: ['x1', 'class_name'] }, signal);
  expect((await database.run(sql('sum(x1) AS sum')))[0]?.sum).toBeGreaterThan(1_000);
  // Which row groups have a value is known by their filters.
  const withClass = async (...names: string[]) =>
    (await files.groups(object, { ...everyGroup, values: { class_name: names } })).map(({ index }) => index);
  expect(await withClass('dog')).toEqual([]);
  expect(await withClass('dog', "o'brien \u72d7")).toEqual([2]);
  expect(await withClass('car')).toEqual([0, 1, 2]);
  await database.close();
});

test('after a partial write to a full disk, the rest is written once there is space', async () => {
  const { database, bucket, object, signal } = await threeGroups();
  using files = new FileCache(bucket, database.folder, 1e6, 256).use();
  const any = await open(join(database.folder, 'any'), 'w');
  await any.close();
  type Write = (
    this: FileHandle,
    ...part: [Buffer, number, number, number]
  ) => ReturnType<FileHandle['write']>;
  const write = vi.spyOn(Object.getPrototypeOf(any) as { write: Write }, 'write');
  write.mockImplementationOnce(function (this: FileHandle, bytes, offset, length, at) {
    write.mockRestore();
    return (this.write as Write).call(this, bytes, offset, Math.ceil(length / 2), at);
  });
  const paths = await files.paths([object], { ...everyGroup, columns: ['captured_at'] }, signal);
  const [row] = await database.run(`SELECT sum(captured_at) AS sum FROM read_parquet(${fileList(paths)})`);
  expect(Number(row?.sum)).toBe((6143 * 6144) / 2);
  await database.close();
});

test('the cached copy of a damaged object is deleted, and a missing copy is not an error of the object', async () => {
  const { database, bucket, object, signal } = await threeGroups();
  const cache = new FileCache(bucket, database.folder, 1, 256);
  const blamed = async (spoil: (copy: string) => unknown) => {
    using files = cache.use();
    const [copy = ''] = await files.paths([object], everyGroup, signal);
    await spoil(copy);
    const told = files.blame(new Error('told by the database'), database, signal);
    return told.catch(({ message }: Error) => message);
  };
  expect(await blamed((copy) => truncate(copy, 9))).toMatch(/^a is no whole Parquet file: remove it/);
  expect(await blamed((copy) => rm(copy))).toBe('told by the database');
  expect(await blamed(() => {})).toBe('told by the database');
  // Those of the last query, one for each row group.
  const copies = (await readdir(database.folder)).filter((name) => name.startsWith('rows-'));
  expect(copies).toHaveLength(3);
  await database.close();
});

test('a class that never occurs costs one small read per file, and files without class lists are searched', async () => {
  const bucket = new MemoryBucket();
  for (const hour of [0, 1, 2])
    await store(
      bucket,
      Array.from(
        { length: 300 },
        (_, number): Shot => ({ stream: 'yard', minute: 60 * hour, number, seen: seenAs('cat') }),
      ),
      hour,
    );
  await compact(bucket, { now: START + 5 * HOUR_MS, fileBytes: 1 });
  const tables = new Tables(bucket, NOT_KEPT, { ...AMPLE, tailBytes: 512 });
  const find = async (of: Tables, name: string) => (await of.search({ ...allOf, classes: [name] })).total;
  const read = vi.spyOn(bucket, 'read');
  expect(await find(tables, 'dog')).toBe(0);
  const parts = read.mock.calls.map(([key, part]) => [
    key.split('/')[1],
    (part as ByteRange | undefined)?.length,
  ]);
  expect(parts.filter(([table]) => table !== undefined)).toEqual(Array(3).fill(['detections', 512]));
  expect(await find(tables, 'cat')).toBe(900);
  await tables.close();
  // As files were written before, and where there are too many classes.
  for (const [key, { body }] of bucket.objects)
    if (key.startsWith('tables/detections/'))
      await bucket.put({
        key,
        body: Buffer.from(
          body.toString('latin1').replace(CLASS_LIST, 'x'.repeat(CLASS_LIST.length)),
          'latin1',
        ),
      });
  const older = new Tables(bucket, NOT_KEPT, { ...AMPLE, tailBytes: 512 });
  expect([await find(older, 'dog'), await find(older, 'cat')]).toEqual([0, 900]);
  await older.close();
});

test('the stream bounds of a row group are compared by bytes, also truncated bounds', () => {
  const between = (least: Buffer, most: Buffer) => ({
    bounds: new Map([['stream_id', [least, most] as const]]),
  });
  expect(mayContainStream(between(Buffer.from('\uff5e'), Buffer.from('\u{1f600}')), '\u{1f415}')).toBe(true);
  expect(mayContainStream(between(Buffer.from('\u72d7').subarray(0, 2), Buffer.from('z')), '\u72d7')).toBe(
    false,
  );
  expect(mayContainStream(between(Buffer.from('\u72d7').subarray(0, 2), Buffer.of(0xff)), '\u72d7')).toBe(
    true,
  );
  expect(mayContainStream({ bounds: new Map() }, 'yard')).toBe(true);
  const short = new Map([['captured_at', [Buffer.of(1), Buffer.of(2)] as const]]);
  expect(timesOf({ bounds: short })).toEqual(timesOf({ bounds: new Map() }));
});

test('a page that many files could fill ends before the range does, and reads its newest part', async () => {
  const at = (minute: number) => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(BigInt(START + minute * 60_000));
    return bytes;
  };
  const bounds = new Map([['captured_at', [at(0), at(20)] as const]]);
  const group = {
    index: 0,
    rows: 1,
    chunks: new Map(),
    bounds,
    filters: new Map(),
    footer: () => Buffer.of(),
  };
  const objects = PART_NAMES.map((part) => ({
    key: `tables/frames/date=2026-10-24/hour=00/part-${part}.parquet`,
    etag: '',
    stored: 0,
    size: 1,
  }));
  const one = { objects, wanted: everyGroup };
  const range = { from: START - HOUR_MS, to: START + 25 * 60_000 };
  const groups = async () => [group];
  const { signal } = new AbortController();
  const { from } = await fittingFrom({ groups }, [one, one], range, 24 * 10, signal);
  expect(from).toBe(START + 15 * 60_000 + 1);
});

test('cached files stay until the query that reads them ends', async () => {
  const { database, bucket, object, signal } = await threeGroups();
  const files = new FileCache(bucket, database.folder, 1, 256);
  const kept = async () => (await readdir(database.folder)).filter((name) => name.startsWith('rows-')).length;
  const first = files.use();
  await first.paths([object], { ...everyGroup, mayMatch: ({ index }) => index === 0 }, signal);
  using second = files.use();
  await second.paths([object], { ...everyGroup, mayMatch: ({ index }) => index === 1 }, signal);
  expect(await kept()).toBe(2);
  first[Symbol.dispose]();
  await second.paths([], everyGroup, signal);
  expect(await kept()).toBe(1);
  await database.close();
});

test('concurrent queries hold no more parts of files in memory than one', async () => {
  const { database, bucket, object, signal } = await threeGroups();
  const { body } = bucket.objects.get('a') as { body: Buffer };
  for (let n = 0; n < 20; n++) await bucket.put({ key: `b${n}`, body });
  const { objects } = await bucket.page('b');
  const cache = new FileCache(bucket, database.folder, 1e9, 64);
  const footers = cache.use();
  for (const one of objects) await footers.groups(one, everyGroup);
  const { read } = bucket;
  let [reading, most] = [0, 0];
  bucket.read = async (...args) => {
    most = Math.max(most, ++reading);
    await sleep(1);
    reading -= 1;
    return read.apply(bucket, args);
  };
  const questions = [objects.slice(0, 10), objects.slice(10)].map(async (some) => {
    using files = cache.use();
    return await files.paths(some, everyGroup, signal);
  });
  expect((await Promise.all(questions)).flat()).toHaveLength(3 * 20);
  expect(object.size).toBeGreaterThan(8 * 64);
  expect(most).toBeGreaterThan(8);
  expect(most).toBeLessThanOrEqual(16);
  await database.close();
});

test('an object that is replaced during a read is never mixed with its new version', async () => {
  const { database, bucket, object, signal } = await threeGroups();
  using files = new FileCache(bucket, database.folder, 1e6, 256).use();
  await files.groups(object, everyGroup);
  await bucket.put({ key: 'a', body: Buffer.alloc(object.size, 1) });
  await expect(files.paths([object], everyGroup, signal)).rejects.toSatisfy(isChanged);
  await database.close();
});

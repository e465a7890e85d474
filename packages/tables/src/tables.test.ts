import { readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DAY_MS, detectionsKey, eventKey, HOUR_MS } from '@video-pipeline/frame';
import type { SceneEvent } from '@video-pipeline/scene';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MemoryBucket } from '../../../test/support/memory-bucket.ts';
import {
  AMPLE,
  event,
  everyPage,
  keep,
  lineOf,
  NOT_KEPT,
  plainScan,
  type Shot,
  START,
  STREAMS,
  seenAs,
  seenBy,
  store,
} from '../../../test/support/stored-shots.ts';
import type { CompactOptions } from './compact.ts';
import {
  compact,
  type EventPage,
  type EventQuery,
  type FoundFrame,
  foundFrames,
  type Query,
  QueryError,
  Tables,
} from './index.ts';
import { LIMITS } from './open-hours.ts';
import { partOf } from './schema.ts';

/** Half an hour before clocks change at some place, a whole hour or half of one: where the day has no midnight, or two. */
const CHANGES = [
  '2026-10-24T23:30Z',
  '2026-03-29T00:30Z',
  '2026-04-23T21:30Z',
  '2026-04-04T14:30Z',
  '2026-12-31T23:30Z',
];
/** The tables' files are read in parts, however small they are. */
const IN_PARTS = { ...AMPLE, tailBytes: 64 };
/** A page reads some row groups. */
const FEW = { ...IN_PARTS, fileBytes: 4_000 };
/** Random cases of the search; more are tried now and then: `SEARCH_CASES=200`. */
const CASES = Number(process.env.SEARCH_CASES ?? 6);
const CLASSES = [
  'person',
  "o'brien",
  '\u72d7',
  '"quoted"',
  'emoji \u{1f415}',
  'back\\slash',
  '; DROP TABLE raw',
  '',
];

const shot: fc.Arbitrary<Shot> = fc.record({
  stream: fc.constantFrom(...STREAMS),
  minute: fc.integer({ min: 0, max: 200 }),
  number: fc.integer({ min: 0, max: 9 }),
  seen: fc.array(
    fc.record({
      class_name: fc.oneof(fc.constantFrom(...CLASSES), fc.string({ unit: 'grapheme', maxLength: 4 })),
      confidence: fc.double({ min: 0, max: 1, noNaN: true }).map((value) => value + 0),
      track: fc.boolean(),
      lawn: fc.boolean(),
    }),
    { maxLength: 3 },
  ),
});
const query: fc.Arbitrary<Query> = fc.record({
  streams: fc.oneof(fc.constant(undefined), fc.subarray(STREAMS)),
  classes: fc.oneof(fc.constant(undefined), fc.subarray(CLASSES)),
  track: fc.oneof(
    { weight: 4, arbitrary: fc.constant(undefined) },
    { weight: 1, arbitrary: fc.constant('t-1') },
  ),
  zone: fc.constantFrom(undefined, undefined, "it's"),
  perTrack: fc.constantFrom(undefined, undefined, true),
  confidence: fc.constantFrom(0, 0, 0.5),
  from: fc.integer({ min: 0, max: 150 }).map((minute) => START + minute * 60_000),
  to: fc.integer({ min: 150, max: 220 }).map((minute) => START + minute * 60_000),
  limit: fc.integer({ min: 1, max: 30 }),
});
const idOf = ({ stream, minute, number }: Shot) => `${stream} ${minute} ${number}`;
/**
 * A batch is stored. Some are redelivered, so that frames lie in two objects, or replayed. Then several runs start at
 * once, and may be cut off.
 */
const step = fc.record({
  // An object holds each frame once.
  batch: fc.uniqueArray(shot, { minLength: 1, maxLength: 12, selector: idOf }),
  again: fc.boolean(),
  runs: fc.array(fc.oneof(fc.constant(Number.POSITIVE_INFINITY), fc.integer({ min: 0, max: 5 })), {
    maxLength: 2,
  }),
});

/** A run of the compactor that is killed before one of its writes. */
async function runUntil(bucket: MemoryBucket, writes: number, options: CompactOptions): Promise<void> {
  let left = writes;
  const own = seenBy(bucket, async () => {
    if (left-- <= 0) throw new Error('killed');
  });
  await compact(own, options).catch(({ message }) => expect(message).toMatch('killed'));
}

test(
  'a search finds what a scan of all NDJSON finds, however the data was compacted or truncated',
  async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 2, maxLength: 6 }),
        fc.array(query, { minLength: 3, maxLength: 3 }),
        // Without time, a read takes one load. The space is enough for one open hour and the rest on the disk. Or each
        // page reads what was captured in a few minutes.
        fc.constantFrom(AMPLE, IN_PARTS, { ...IN_PARTS, readingMs: 0, keptBytes: 40_000 }, FEW),
        fc.constantFrom(NOT_KEPT, { ...NOT_KEPT, manifestsMs: 60_000 }),
        // The hours of a day share a file, or each has its own if no later hour is stored yet.
        fc.constantFrom(1024 ** 2, 1),
        fc.constantFrom(...CHANGES),
        async (steps, queries, limits, kept, fileBytes, change) => {
          const bucket = new MemoryBucket();
          const tables = new Tables(bucket, kept, limits);
          const shift = Date.parse(change) - START;
          bucket.now = START + shift;
          const check = async (query: Query) => {
            const asked = { ...query, from: query.from + shift, to: query.to + shift };
            // The best frame of a track needs the whole range.
            if (limits === FEW) asked.perTrack = undefined;
            const expected = plainScan(bucket, asked);
            const { frames, total } = await everyPage(tables, asked);
            expect(frames).toEqual(expected);
            if (limits.readingMs === 0 || limits === FEW) return;
            expect(total).toBe(expected.length);
            const counts = await tables.histogram(asked, 7 * 60_000);
            const binOf = ({ captured_at }: FoundFrame) =>
              Math.floor((captured_at - asked.from) / (7 * 60_000));
            expect(counts).toEqual(
              counts.map((_, bin) => expected.filter((one) => binOf(one) === bin).length),
            );
          };
          // The hours up to here are closed. Later ones are open.
          const options = { now: START + shift + 2 * HOUR_MS, fileBytes };
          for (const [index, { batch, again, runs }] of steps.entries()) {
            const shots = batch.map((one) => ({ ...one, minute: one.minute + shift / 60_000 }));
            await store(bucket, shots, index * 100);
            if (again) await store(bucket, shots.slice(1), index * 100 + 1);
            await Promise.all(runs.map((writes) => runUntil(bucket, writes, options)));
            // A batch of an hour that the tables hold is found once a run has been there.
            if (runs.includes(Number.POSITIVE_INFINITY))
              await check(queries[index % queries.length] as Query);
          }
          await compact(bucket, options);
          for (const asked of queries) await check(asked);
          await tables.close();
        },
      ),
      { numRuns: CASES, endOnFailure: true },
    );
  },
  CASES * 20_000,
);

test('the current hour is not compacted, and is searched all the same', async () => {
  const bucket = new MemoryBucket();
  const seen = [{ class_name: 'cat', confidence: 0.9, track: false }];
  await store(bucket, [{ stream: 'yard', minute: 1, number: 0, seen }], 0);
  expect(await compact(bucket, { now: START + 10 * 60_000 })).toMatchObject({ written: 0 });
  const tables = new Tables(bucket, NOT_KEPT);
  const asked = { classes: ['cat'], confidence: 0, from: START, to: START + HOUR_MS, limit: 5 };
  expect((await tables.search(asked)).frames).toHaveLength(1);
  // Objects that were read once are not read again.
  const { reads } = bucket;
  await store(bucket, [{ stream: 'yard', minute: 2, number: 0, seen }], 1);
  expect((await tables.search(asked)).frames).toHaveLength(2);
  expect(bucket.reads).toBe(reads + 1);
  await tables.close();
});

test('a search works after the system has deleted the temporary files', async () => {
  const bucket = new MemoryBucket();
  const shot = (minute: number): Shot => ({ stream: 'yard', minute, number: 0, seen: [] });
  await store(bucket, [shot(1)], 0);
  await compact(bucket, { now: START + HOUR_MS });
  const before = new Set(readdirSync(tmpdir()));
  const tables = new Tables(bucket, NOT_KEPT);
  const asked = { confidence: 0, from: START, to: START + 2 * HOUR_MS, limit: 5 };
  expect((await tables.search(asked)).frames).toHaveLength(1);
  const own = `-${process.pid}-`;
  const folders = readdirSync(tmpdir()).filter((name) => !before.has(name) && name.includes(own));
  for (const folder of folders) rmSync(join(tmpdir(), folder), { recursive: true });
  await store(bucket, [shot(61)], 1);
  const pages = await Promise.all([tables.search(asked), tables.search(asked)]);
  expect(pages.map(({ frames }) => frames.length)).toEqual([2, 2]);
  await tables.close();
});

test('invalid lines are skipped, and the others are read', async () => {
  const bucket = new MemoryBucket();
  await store(bucket, [{ stream: 'yard', minute: 1, number: 0, seen: [] }], 0);
  const key = detectionsKey({ streamId: 'yard', capturedAt: START }, { topic: 'd', partition: 0, offset: 9 });
  const broken = [
    '{',
    '{"stream_id":"yard"}',
    '[]',
    'x',
    '{"stream_id":"yard","captured_at":-5,"frame_number":1,"detections":[]}',
    'null',
    '{"stream_id":"yard","captured_at":1,"frame_number":1,"detections":[null]}',
    `{"stream_id":"yard","captured_at":${START},"frame_number":1,"detections":"x"}`,
    lineOf({ stream: 'yard', minute: 9, number: 9, seen: [] }, 1).slice(0, 50),
  ];
  await bucket.put({
    key,
    body: [...broken, lineOf({ stream: 'yard', minute: 3, number: 1, seen: [] }, 1)].join('\n'),
  });
  expect(await compact(bucket, { now: START + 3 * HOUR_MS })).toMatchObject({ objects: 2, frames: 2 });
});

test('counts by class are returned in bins, over open and compacted hours', async () => {
  const bucket = new MemoryBucket();
  const seen = (class_name: string) => [{ class_name, confidence: 0.9, track: false }];
  const shots = [0, 1, 45, 100].map(
    (minute): Shot => ({ stream: 'yard', minute, number: 0, seen: seen('cat') }),
  );
  for (const [index, one] of shots.entries()) await store(bucket, [one], index);
  await compact(bucket, { now: START + HOUR_MS });
  const tables = new Tables(bucket, NOT_KEPT);
  const { counts } = await tables.counts(['yard'], {
    from: START,
    to: START + 2 * HOUR_MS,
    binMs: 30 * 60_000,
  });
  expect(counts).toEqual([
    { bin: 0, name: 'cat', count: 2 },
    { bin: 1, name: 'cat', count: 1 },
    { bin: 3, name: 'cat', count: 1 },
  ]);
  await tables.close();
});

test('events are returned page by page, from the tables and newer ones, and a redelivered event once', async () => {
  const bucket = new MemoryBucket();
  const all = Array.from({ length: 9 }, (_, number) => event(number));
  for (const one of all.slice(0, 6)) await keep(bucket, one);
  await bucket.put({ key: `${eventKey(event(1)).slice(0, -9)}junk.json`, body: '{"at":5}' });
  await compact(bucket, { now: START + 150 * 60_000 });
  expect(bucket.objects.has('tables/events/date=2026-10-25/part-0.parquet')).toBe(true);
  for (const one of [event(1), ...all.slice(5)]) await keep(bucket, one);
  await compact(bucket, { now: START + 180 * 60_000 });
  const tables = new Tables(bucket, NOT_KEPT);
  const asked = { from: START, to: START + 4 * HOUR_MS, limit: 4 };
  const found: SceneEvent[] = [];
  for (let cursor: string | undefined = ''; cursor !== undefined; ) {
    const page: EventPage = await tables.events({ ...asked, ...(cursor ? { cursor } : {}) });
    expect(page.total).toBe(9);
    found.push(...page.events);
    cursor = page.cursor;
  }
  expect(found).toEqual(all.toReversed());
  const numbers = async (query: Partial<EventQuery>) =>
    (await tables.events({ ...asked, limit: 100, ...query })).events.map(({ event_id }) =>
      Number(`0x${event_id}`),
    );
  expect(await numbers({ streams: ['yard'], classes: ['person'], zones: ['lawn'] })).toEqual([7, 5, 3, 1]);
  expect(await numbers({ types: ['left_zone'] })).toEqual([]);
  const ids = [event(2), event(8)].map(({ event_id }) => event_id);
  expect(await numbers({ ids: { only: true, of: ids } })).toEqual([8, 2]);
  expect(await numbers({ ids: { only: false, of: ids }, to: START + HOUR_MS })).toEqual([1, 0]);
  await tables.close();
});

test('a gap has its reason: a silent camera, missing frames, or a restart of ingest', async () => {
  const bucket = new MemoryBucket();
  const minutes = [0, 1, 9, 10];
  for (const [index, minute] of minutes.entries())
    await store(
      bucket,
      [{ stream: 'yard', minute, number: index < 2 ? index : index + 100, seen: [] }],
      index,
    );
  await compact(bucket, { now: START + 2 * HOUR_MS });
  const tables = new Tables(bucket, NOT_KEPT);
  const { gaps, frames } = await tables.history(
    ['yard'],
    { from: START, to: START + HOUR_MS, binMs: 5 * 60_000 },
    60_001,
  );
  expect(gaps).toEqual([
    { stream_id: 'yard', from: START + 60_001, to: START + 9 * 60_000 + 102, missing: 100, restarted: false },
  ]);
  expect(frames).toEqual([
    { bin: 0, name: 'yard', count: 2 },
    { bin: 1, name: 'yard', count: 1 },
    { bin: 2, name: 'yard', count: 1 },
  ]);
  await tables.close();
});

test('a query can be aborted, an invalid cursor is rejected, and the next query works', async () => {
  const tables = new Tables(new MemoryBucket(), NOT_KEPT);
  const asked = { confidence: 0, from: START, to: START + 1, limit: 5 };
  await expect(tables.search(asked, AbortSignal.abort(new Error('gone')))).rejects.toThrow('gone');
  for (const cursor of [
    '',
    'x',
    Buffer.from('[1,"a"]').toString('base64url'),
    Buffer.from('{}').toString('base64url'),
  ]) {
    await expect(tables.search({ ...asked, cursor })).rejects.toThrow(QueryError);
  }
  expect(await tables.search(asked)).toEqual({ frames: [], searched_to: START, total: 0 });
  await tables.close();
});

/** An open hour for each of these, with about 12 kB a batch. */
async function storeHours(bucket: MemoryBucket, hours: readonly number[], batches: number): Promise<void> {
  for (const hour of hours) {
    for (let batch = 0; batch < batches; batch++) {
      const shots = Array.from(
        { length: 40 },
        (_, i): Shot => ({
          stream: STREAMS[batch % 3] ?? '',
          minute: 30 + hour * 60 + batch,
          number: i,
          seen: [],
        }),
      );
      await store(bucket, shots, hour * 1_000 + batch * 40);
    }
  }
}

test('open hours that exceed the space go to the next page, and a page called complete lacks nothing', async () => {
  const bucket = new MemoryBucket();
  await storeHours(bucket, [0, 1, 2, 3], 6);
  // Space for two hours.
  const tables = new Tables(bucket, NOT_KEPT, { ...AMPLE, keptBytes: 160_000 });
  const asked = { confidence: 0, from: START, to: START + 5 * HOUR_MS, limit: 2_000 };
  const first = await tables.search(asked);
  expect(first.total).toBeUndefined();
  expect(first.searched_to).toBeGreaterThan(START);
  expect((await everyPage(tables, asked)).frames).toEqual(plainScan(bucket, asked));
  // Too much for one answer, and a part of the answer is of no use.
  await expect(tables.search({ ...asked, perTrack: true })).rejects.toThrow(
    /over 0 MiB of NDJSON since .* are not in the tables yet/,
  );
  await expect(tables.parquet(asked)).rejects.toThrow(QueryError);
  await tables.close();
});

test('an hour that exceeds the space is rejected with the remedy, and a query of one stream works', async () => {
  const bucket = new MemoryBucket();
  await storeHours(bucket, [0], 9);
  const tables = new Tables(bucket, NOT_KEPT, { ...AMPLE, keptBytes: 60_000 });
  const asked = { confidence: 0, from: START, to: START + 1.5 * HOUR_MS, limit: 500 };
  await expect(tables.search(asked)).rejects.toThrow(
    'of NDJSON since 2026-10-25T00:00:00.000Z are not in the tables yet: ask for fewer streams or a shorter time',
  );
  const ofOne = { ...asked, streams: ['yard'] };
  expect(await tables.search(ofOne)).toMatchObject({ total: 120, frames: plainScan(bucket, ofOne) });
  await tables.close();
});

test('files that exceed a page go to the next page, and a query of the whole range is rejected', async () => {
  const bucket = new MemoryBucket();
  await storeHours(bucket, [0, 1, 2], 6);
  await compact(bucket, { now: START + 5 * HOUR_MS, fileBytes: 1 });
  const minutes = [100, 160].map(
    (minute): Shot => ({ stream: 'yard', minute, number: 99, seen: seenAs('cat') }),
  );
  await store(bucket, minutes, 9_000);
  await compact(bucket, { now: START + 5 * HOUR_MS, fileBytes: 1 });
  const tables = new Tables(bucket, NOT_KEPT, { ...LIMITS, fileBytes: 1 });
  const asked = { confidence: 0, from: START, to: START + 5 * HOUR_MS, limit: 2_000 };
  const first = await tables.search(asked);
  expect(first.total).toBeUndefined();
  expect(first.frames.length).toBeGreaterThan(0);
  expect(first.searched_to).toBeGreaterThan(START + 2 * HOUR_MS);
  expect((await everyPage(tables, asked)).frames).toEqual(plainScan(bucket, asked));
  const refused = 'the tables hold over 0 MiB of it: ask for fewer streams or a shorter time';
  await expect(tables.search({ ...asked, perTrack: true })).rejects.toThrow(refused);
  await expect(tables.parquet(asked)).rejects.toThrow(refused);
  await expect(tables.histogram(asked, HOUR_MS)).rejects.toThrow(refused);
  await tables.close();
});

test('a truncated table is named with the remedy, and the remedy restores all frames', async () => {
  const bucket = new MemoryBucket();
  await storeHours(bucket, [0], 6);
  await compact(bucket, { now: START + 5 * HOUR_MS });
  const asked = { confidence: 0, from: START, to: START + 5 * HOUR_MS, limit: 500 };
  const key = `tables/frames/date=2026-10-25/hour=00/part-${partOf('yard')}.parquet`;
  await bucket.put({ key, body: bucket.objects.get(key)?.body.subarray(0, -9) ?? '' });
  const tables = new Tables(bucket, NOT_KEPT);
  await expect(tables.search(asked)).rejects.toThrow(
    `${key} is no whole Parquet file: remove it and its day's manifests, and run compact with --all`,
  );
  bucket.objects.delete(key);
  for (const one of [...bucket.objects.keys()])
    if (one.startsWith('tables/manifests/date=2026-10-25/')) bucket.objects.delete(one);
  await compact(bucket, { now: START + 5 * HOUR_MS, all: true });
  expect((await everyPage(tables, asked)).frames).toEqual(plainScan(bucket, asked));
  await tables.close();
});

/** Frames of one stream with a cat, in the middle of each of these hours. */
async function storeCats(bucket: MemoryBucket, hours: readonly number[]): Promise<void> {
  const at = (hour: number) => (_: unknown, number: number) => ({ minute: 60 * (hour + 1), number });
  for (const hour of hours) {
    const shots = Array.from({ length: 40 }, at(hour));
    await store(
      bucket,
      shots.map((one): Shot => ({ stream: 'yard', ...one, seen: seenAs('cat') })),
      hour * 1_000,
    );
  }
}

test('a damaged table is named by its key in S3, and read again after it is repaired', async () => {
  const bucket = new MemoryBucket();
  await storeCats(bucket, [0]);
  await compact(bucket, { now: START + 5 * HOUR_MS });
  const asked = { confidence: 0, classes: ['cat'], from: START, to: START + 5 * HOUR_MS, limit: 500 };
  const key = `tables/detections/date=2026-10-25/hour=00/part-${partOf('yard')}.parquet`;
  const { body } = bucket.objects.get(key) as { body: Buffer };
  const damaged = Buffer.from(body);
  const footer = body.length - 8 - body.readUInt32LE(body.length - 8);
  await bucket.put({ key, body: damaged.fill(0xff, 4, footer >> 1) });
  const tables = new Tables(bucket, NOT_KEPT);
  await expect(tables.search(asked)).rejects.toThrow(`${key} is no whole Parquet file: remove it`);
  await bucket.put({ key, body });
  expect((await everyPage(tables, asked)).frames).toEqual(plainScan(bucket, asked));
  await tables.close();
});

/** Looks how many parts of files lie on the disk while the bucket is read. @returns the most that were seen */
async function watchDisk(bucket: MemoryBucket, tables: Tables): Promise<() => number> {
  await tables.warm();
  const own = new RegExp(`^video-pipeline-tables-.*-${process.pid}-`);
  const folders = readdirSync(tmpdir()).filter((name) => own.test(name));
  const count = () =>
    folders.flatMap((name) => readdirSync(`${tmpdir()}/${name}`)).filter((name) => name.startsWith('rows-'))
      .length;
  const { read } = bucket;
  let most = 0;
  bucket.read = async (...args) => {
    await sleep(1);
    most = Math.max(most, count());
    return read.apply(bucket, args);
  };
  return () => most;
}

test('many concurrent queries use no more disk space than the two largest', async () => {
  const bucket = new MemoryBucket();
  const hours = [0, 1, 2, 3, 4, 5];
  await storeCats(bucket, hours);
  await compact(bucket, { now: START + 9 * HOUR_MS, fileBytes: 1 });
  const tables = new Tables(bucket, NOT_KEPT, { ...AMPLE, fileBytes: 1 });
  const most = await watchDisk(bucket, tables);
  const ask = (hour: number) => {
    const from = START + (hour + 0.5) * HOUR_MS;
    return tables.search({ confidence: 0, classes: ['cat'], from, to: from + HOUR_MS, limit: 5 });
  };
  const pages = await Promise.all(hours.map(ask));
  for (const { frames } of pages) expect(frames.length).toBeGreaterThan(0);
  // Each reads a part of the one file of its hour, of both tables.
  expect(most()).toBeLessThanOrEqual(4);
  await tables.close();
});

test('many concurrent queries of events use no more disk space than the two largest', async () => {
  const bucket = new MemoryBucket();
  const days = [0, 2, 4, 6, 8, 10].map((day) => START + day * DAY_MS);
  for (const [number, at] of days.entries()) await keep(bucket, event(number, { at }));
  await compact(bucket, { now: START + 12 * DAY_MS, all: true });
  const tables = new Tables(bucket, NOT_KEPT, { ...AMPLE, fileBytes: 1 });
  const most = await watchDisk(bucket, tables);
  const pages = await Promise.all(days.map((at) => tables.events({ from: at, to: at + HOUR_MS, limit: 5 })));
  expect(pages.map(({ total }) => total)).toEqual(days.map(() => 1));
  expect(most()).toBeLessThanOrEqual(2);
  await tables.close();
});

test('a query that takes too long is an error with the advice to narrow it', async () => {
  const bucket = new MemoryBucket();
  await storeHours(bucket, [0, 1], 6);
  await compact(bucket, { now: START + 5 * HOUR_MS });
  const tables = new Tables(bucket, NOT_KEPT, { ...LIMITS, deadlineMs: 500 });
  await tables.warm();
  const asked = { confidence: 0, from: START, to: START + 5 * HOUR_MS, limit: 5 };
  const { read } = bucket;
  bucket.read = async (...args) => {
    await sleep(600);
    return read.apply(bucket, args);
  };
  await expect(tables.search(asked)).rejects.toThrow(
    new QueryError('no answer within 0.5 s: ask for fewer streams or a shorter time'),
  );
  await tables.close();
});

test('a query lists each folder once, and skips hours that the tables hold', async () => {
  const bucket = new MemoryBucket();
  await storeHours(bucket, [0, 1, 2, 3, 4], 6);
  await compact(bucket, { now: START + 5 * HOUR_MS });
  const listed: string[] = [];
  const { page, folders } = bucket;
  bucket.page = (prefix, options) => {
    listed.push(prefix);
    return page.call(bucket, prefix, options);
  };
  bucket.folders = (prefix) => {
    listed.push(prefix);
    return folders.call(bucket, prefix);
  };
  const tables = new Tables(bucket, NOT_KEPT);
  const asked = { confidence: 0, from: START + 2 * HOUR_MS, to: START + 5 * HOUR_MS, limit: 2 };
  const found = await tables.search(asked);
  expect(found).toMatchObject({ total: 3 * 240, frames: plainScan(bucket, asked).slice(0, 2) });
  expect(listed).toEqual([
    'tables/manifests/',
    'detections/',
    'tables/frames/',
    'tables/detections/',
    // The hour that is not over.
    ...['a-3.b_c', 'gate', 'yard'].map((stream) => `detections/${stream}/date=2026-10-25/hour=04/`).sort(),
  ]);
  await tables.close();
});

test('hours that are compacted between two pages are missing in neither page', async () => {
  const bucket = new MemoryBucket();
  await store(bucket, [{ stream: 'yard', minute: 100, number: 0, seen: [] }], 0);
  const tables = new Tables(bucket, { ...NOT_KEPT, manifestsMs: 60_000, openMs: 60_000 });
  const since = (minute: number) =>
    tables.search({ confidence: 0, from: START + minute * 60_000, to: START + 3 * HOUR_MS, limit: 5 });
  expect(await since(40)).toMatchObject({ total: 1 });
  await compact(bucket, { now: START + 4 * HOUR_MS });
  expect(await since(99)).toMatchObject({ total: 1 });
  await tables.close();
});

test('a file of events that is replaced during a query does not fail the query', async () => {
  const bucket = new MemoryBucket();
  await keep(bucket, event(1));
  await compact(bucket, { now: START + 3 * HOUR_MS });
  const late = event(2, { at: event(1).at + 1 });
  await keep(bucket, late);
  const { read } = bucket;
  bucket.read = async (...args) => {
    bucket.read = read;
    await compact(bucket, { now: START + 3 * HOUR_MS });
    return bucket.read(...args);
  };
  const tables = new Tables(bucket, NOT_KEPT);
  const asked = { from: START, to: START + HOUR_MS, limit: 5 };
  expect((await tables.events(asked)).events).toEqual([late, event(1)]);
  await tables.close();
});

test('rows of open hours stay until the query that reads them ends', async () => {
  const bucket = new MemoryBucket();
  await storeHours(bucket, [0, 1, 2, 3], 6);
  const tables = new Tables(bucket, NOT_KEPT, { ...AMPLE, keptBytes: 160_000 });
  const ask = async (hour: number) => {
    const asked = {
      confidence: 0,
      from: START + hour * HOUR_MS + 1_800_000,
      to: START + (hour + 1) * HOUR_MS + 1_800_000,
      limit: 500,
    };
    expect((await everyPage(tables, asked)).frames).toEqual(plainScan(bucket, asked));
  };
  await Promise.all([ask(3), ask(0), ask(2), ask(1)]);
  await tables.close();
});

test('a page whose time ends before all open hours are read has the hours that it read', async () => {
  const bucket = new MemoryBucket();
  const at = (minute: number, number: number): Shot => ({ stream: 'yard', minute, number, seen: [] });
  await store(bucket, [at(29, 1), at(31, 2)], 0);
  await store(bucket, [at(40, 3)], 2);
  const tables = new Tables(bucket, NOT_KEPT, { ...LIMITS, readingMs: 0 });
  const asked = { confidence: 0, from: START, to: START + HOUR_MS, limit: 500 };
  const { frames, searched_to } = await tables.search(asked);
  expect(frames.map(({ frame_number }) => frame_number)).toEqual([3, 2]);
  expect(searched_to).toBe(START + HOUR_MS / 2);
  expect((await everyPage(tables, asked)).frames).toEqual(plainScan(bucket, asked));
  expect(await foundFrames(tables, { ...asked, limit: 3 })).toEqual(plainScan(bucket, asked));
  await tables.close();
});

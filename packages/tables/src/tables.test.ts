import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { annotatedKey, DAY_MS, detectionsKey, eventKey, HOUR_MS, lateKey } from '@video-pipeline/frame';
import type { SceneEvent } from '@video-pipeline/scene';
import { type ByteRange, isChanged, type ListedObject } from '@video-pipeline/storage';
import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import { MemoryBucket } from '../../../test/support/memory-bucket.ts';
import type { CompactOptions } from './compact.ts';
import { fileList, openDatabase } from './duckdb.ts';
import { FileCache } from './file-cache.ts';
import { fittingFrom, mayBeOf, timesOf } from './fitting.ts';
import { CLASS_LIST, type RowGroup } from './footer.ts';
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
import { portionsOf } from './lines.ts';
import type { TableBucket } from './merge.ts';
import { LIMITS } from './open-hours.ts';
import { manifestKey, PART_NAMES, partOf } from './schema.ts';

/** Half an hour before midnight: frames lie on both sides of it. */
const START = Date.UTC(2026, 9, 24, 23, 30);
/** Half an hour before clocks change at some place, a whole hour or half of one: where the day has no midnight, or two. */
const CHANGES = [
  '2026-10-24T23:30Z',
  '2026-03-29T00:30Z',
  '2026-04-23T21:30Z',
  '2026-04-04T14:30Z',
  '2026-12-31T23:30Z',
];
/** Enough time on a busy machine, too. */
const AMPLE = { ...LIMITS, readingMs: 60_000 };
/** The tables' files are read in parts, however small they are. */
const IN_PARTS = { ...AMPLE, tailBytes: 64 };
/** A page reads some row groups. */
const FEW = { ...IN_PARTS, fileBytes: 4_000 };
/** Random cases of the search; more are tried now and then: `SEARCH_CASES=200`. */
const CASES = Number(process.env.SEARCH_CASES ?? 6);
/** No listing is kept: each query sees what was stored just now. */
const NOT_KEPT = { manifestsMs: 0, streamsMs: 0, openMs: 0 };
const STREAMS = ['yard', 'gate', 'a-3.b_c'];
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

interface Shot {
  stream: string;
  /** Minutes after {@link START}. */
  minute: number;
  number: number;
  seen: { class_name: string; confidence: number; track: boolean; lawn?: boolean }[];
}

/** What models beyond detection add. */
const DETAILS: Pick<FoundFrame['detections'][number], 'polygon' | 'keypoints'> = {
  polygon: [
    [1.5, 2],
    [30, 4.5],
    [5, 60],
  ],
  keypoints: [
    [3, 4.1, 0.87],
    [5, 6],
  ],
};

function lineOf({ stream, minute, number, seen }: Shot, version: number): string {
  const frame = { streamId: stream, capturedAt: START + minute * 60_000 + number, frameNumber: number };
  const facts: FoundFrame = {
    stream_id: stream,
    frame_number: number,
    session: 's',
    captured_at: frame.capturedAt,
    width: 1280,
    height: 720,
    model: `m${version}`,
    detections: seen.map(({ class_name, confidence, track, lawn }, i) => ({
      class_id: i,
      class_name,
      confidence,
      bbox: [i + 0.1, 1 / 3, 100.25 + i, 200],
      ...(track ? { track_id: `t-${number % 3}` } : {}),
      ...(lawn ? { zones: ['lawn', "it's"], ...DETAILS } : {}),
    })),
    annotated_key: annotatedKey('annotated', frame),
    ...(number === 3 ? { archive: { key: 'annotated/x.tar', offset: 512, length: 9 } } : {}),
  };
  return JSON.stringify(facts);
}

/** What annotate stores of a batch: an NDJSON for each of its streams and hours. */
async function store(bucket: MemoryBucket, batch: readonly Shot[], offset: number): Promise<void> {
  const keyOf = ({ stream, minute, number }: Shot) =>
    detectionsKey(
      { streamId: stream, capturedAt: START + minute * 60_000 + number },
      { topic: 'd', partition: 0, offset },
    );
  for (const [key, shots] of Map.groupBy(batch, keyOf)) {
    bucket.now += 1_000;
    await bucket.put({
      key,
      body: shots.map((shot) => `${lineOf(shot, offset)}\n`).join(''),
    });
  }
}

/** The same query, answered by reading every stored line. */
function plainScan(bucket: MemoryBucket, query: Query): FoundFrame[] {
  const newest = new Map<string, FoundFrame>();
  const objects = [...bucket.objects].filter(([key]) => key.startsWith('detections/'));
  for (const [, { body }] of objects.sort(([, a], [, b]) => a.stored - b.stored)) {
    for (const line of body.toString().split('\n').filter(Boolean)) {
      const frame: FoundFrame = JSON.parse(line);
      newest.set(frame.annotated_key, frame);
    }
  }
  const { streams, classes, confidence, track, zone, perTrack } = query;
  const isShown = (one: FoundFrame['detections'][number]) =>
    (!classes?.length || classes.includes(one.class_name)) &&
    one.confidence >= confidence &&
    (track === undefined || one.track_id === track) &&
    (zone === undefined || one.zones?.includes(zone) === true);
  const found = [...newest.values()]
    .filter(({ captured_at }) => captured_at >= query.from && captured_at < query.to)
    .filter(({ stream_id }) => !streams?.length || streams.includes(stream_id))
    .filter(({ detections }) => {
      if (!classes?.length && !confidence && track === undefined && zone === undefined && !perTrack)
        return true;
      return detections.some(isShown);
    })
    .sort(
      (a, b) =>
        b.captured_at - a.captured_at ||
        (a.stream_id < b.stream_id ? -1 : a.stream_id > b.stream_id ? 1 : b.frame_number - a.frame_number),
    );
  if (!perTrack) return found;
  const surest = new Map<string, { confidence: number; frame: FoundFrame }>();
  for (const frame of found.toReversed()) {
    for (const one of frame.detections.filter(isShown)) {
      const id = `${frame.stream_id} ${one.track_id ?? frame.annotated_key}`;
      if (one.confidence > (surest.get(id)?.confidence ?? -1))
        surest.set(id, { confidence: one.confidence, frame });
    }
  }
  const shown = new Set([...surest.values()].map(({ frame }) => frame));
  return found.filter((frame) => shown.has(frame));
}

async function everyPage(
  tables: Tables,
  query: Query,
): Promise<{ frames: FoundFrame[]; total: number | undefined }> {
  const first = await tables.search(query);
  const frames = [...first.frames];
  for (let { cursor } = first; cursor !== undefined; ) {
    const page = await tables.search({ ...query, cursor });
    frames.push(...page.frames);
    cursor = page.cursor;
  }
  return { frames, total: first.total };
}

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

/** The bucket for a run, with a callback before each write. */
function seenBy(bucket: MemoryBucket, beforeWrite: () => Promise<void>): TableBucket {
  return {
    page: (...args) => bucket.page(...args),
    folders: (prefix) => bucket.folders(prefix),
    read: (key) => bucket.read(key),
    save: (key, path) => bucket.save(key, path),
    put: (object) => beforeWrite().then(() => bucket.put(object)),
    putOver: (object, etag) => beforeWrite().then(() => bucket.putOver(object, etag)),
    merge: (object) => beforeWrite().then(() => bucket.merge(object)),
    remove: (keys) => beforeWrite().then(() => bucket.remove(keys)),
  };
}

/** A run of the compactor that is killed before one of its writes. */
async function runUntil(bucket: MemoryBucket, writes: number, options: CompactOptions): Promise<void> {
  let left = writes;
  const own = seenBy(bucket, async () => {
    if (left-- <= 0) throw new Error('killed');
  });
  await compact(own, options).catch(({ message }) => expect(message).toMatch('killed'));
}

test(
  'a search finds what a plain scan of all NDJSON finds, whenever it was compacted and cut off',
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

test('a second run finds nothing to do, and a late batch alone is read by the next', async () => {
  const bucket = new MemoryBucket();
  const shots = Array.from(
    { length: 50 },
    (_, number): Shot => ({ stream: 'yard', minute: 1, number, seen: [] }),
  );
  await store(bucket, shots.slice(0, 25), 0);
  await store(bucket, shots.slice(25, 40), 25);
  const now = START + 3 * HOUR_MS;
  expect(await compact(bucket, { now })).toEqual({ objects: 2, frames: 40, written: 1, expired: 0 });
  expect(await compact(bucket, { now })).toEqual({ objects: 0, frames: 0, written: 0, expired: 0 });
  await store(bucket, shots.slice(40), 40);
  expect(await compact(bucket, { now })).toEqual({ objects: 1, frames: 10, written: 1, expired: 0 });
});

test('a run lists neither days that the tables hold nor streams of other parts', async () => {
  const bucket = new MemoryBucket();
  const DAYS = 30;
  for (let hour = 0; hour < DAYS * 24; hour++) {
    const capturedAt = Date.UTC(2026, 8, 1) + hour * HOUR_MS;
    for (const streamId of STREAMS) {
      const key = detectionsKey({ streamId, capturedAt }, { topic: 'd', partition: 0, offset: hour });
      const [, , date, name] = key.split('/');
      bucket.objects.set(key, { body: Buffer.alloc(0), stored: 1, etag: 'e' });
      const manifest = manifestKey(`${date}/${name}`, partOf(streamId));
      bucket.objects.set(manifest, {
        body: Buffer.from(JSON.stringify({ [key]: 'e' })),
        stored: 1,
        etag: 'e',
      });
    }
  }
  const listed: string[] = [];
  const { folders } = bucket;
  bucket.folders = (prefix) => {
    listed.push(prefix);
    return folders.call(bucket, prefix);
  };
  const now = Date.UTC(2026, 8, 1 + DAYS);
  await compact(bucket, { now, part: 'events' });
  expect(listed).toEqual(['events/']);
  listed.length = 0;
  await compact(bucket, { now, part: partOf('yard') });
  // The two days that are checked again, of that stream alone.
  expect(listed).toEqual([
    'detections/',
    'detections/yard/',
    'detections/yard/date=2026-09-29/',
    'detections/yard/date=2026-09-30/',
  ]);
});

/** Hours of `yard` that the tables hold, four of each day: by night nothing is stored. */
function storeDays(bucket: MemoryBucket, days: number): void {
  for (let hour = 0; hour < days * 4; hour++) {
    const capturedAt = START - 3 * 24 * HOUR_MS - (Math.floor(hour / 4) * 24 + (hour % 4)) * HOUR_MS;
    const key = detectionsKey({ streamId: 'yard', capturedAt }, { topic: 'd', partition: 0, offset: hour });
    const [, , date, name] = key.split('/');
    bucket.objects.set(key, { body: Buffer.alloc(0), stored: 1, etag: 'e' });
    const body = Buffer.from(JSON.stringify({ [key]: 'e' }));
    bucket.objects.set(manifestKey(`${date}/${name}`, partOf('yard')), { body, stored: 1, etag: 'e' });
  }
}

test('what a run asks of the bucket does not grow with its age, and old dates that come late are found', async () => {
  const requestsOf = async (days: number) => {
    const bucket = new MemoryBucket();
    storeDays(bucket, days);
    await compact(bucket, { now: START });
    let requests = 0;
    const { page, folders, read } = bucket;
    const counted =
      <Args extends unknown[], Answer>(ask: (...args: Args) => Promise<Answer>) =>
      (...args: Args) => {
        requests += 1;
        return ask.apply(bucket, args);
      };
    Object.assign(bucket, { page: counted(page), folders: counted(folders), read: counted(read) });
    await compact(bucket, { now: START + HOUR_MS });
    const asked = requests;
    // A camera whose clock is wrong.
    await store(bucket, [{ stream: 'yard', minute: -60 * 24 * 1_000, number: 0, seen: [] }], 9);
    expect(await compact(bucket, { now: START + HOUR_MS })).toMatchObject({ frames: 1 });
    expect(await compact(bucket, { now: START + HOUR_MS })).toMatchObject({ frames: 0 });
    return asked;
  };
  expect(await requestsOf(40)).toBe(await requestsOf(7));
});

test('what comes late to an hour of long ago is taken up by the next run, whatever else is done meanwhile', async () => {
  const bucket = new MemoryBucket();
  const shots = [0, 1, 2].map((number): Shot => ({ stream: 'yard', minute: 1, number, seen: [] }));
  const now = START + 90 * DAY_MS;
  /** What annotate and detect do of a batch that is redriven. */
  const redrive = async (shot: Shot, offset: number) => {
    const known = new Set(bucket.objects.keys());
    await store(bucket, [shot], offset);
    for (const key of [...bucket.objects.keys()])
      if (!known.has(key))
        await bucket.put({ key: String(lateKey({ key, body: String(offset) }, 0)), body: '' });
  };
  await store(bucket, shots.slice(0, 1), 0);
  await compact(bucket, { now: START + 3 * HOUR_MS });
  expect(await compact(bucket, { now })).toMatchObject({ objects: 0 });
  await redrive(shots[1] as Shot, 1);
  const late = event(1);
  await keep(bucket, late);
  await bucket.put({ key: String(lateKey({ key: eventKey(late), body: '' }, 0)), body: '' });
  // One batch more, after the run has listed the hour: its own note stays.
  const { remove } = bucket;
  bucket.remove = async (keys) => {
    bucket.remove = remove;
    await redrive(shots[2] as Shot, 2);
    await bucket.remove(keys);
  };
  expect(await compact(bucket, { now, part: partOf('yard') })).toMatchObject({ objects: 1, frames: 1 });
  expect(await compact(bucket, { now, part: partOf('yard') })).toMatchObject({ objects: 1, frames: 1 });
  expect(await compact(bucket, { now, part: 'events' })).toMatchObject({ objects: 1 });
  expect([...bucket.objects.keys()].filter((key) => key.startsWith('late/'))).toEqual([]);
  expect(await compact(bucket, { now })).toMatchObject({ objects: 0 });
  expect(await everything(bucket)).toHaveLength(3);
});

test('a clock that is ten years behind costs each run the same, however long it runs', async () => {
  const bucket = new MemoryBucket();
  const store = async (hour: number, offset: number) => {
    const capturedAt = Date.UTC(2016, 9, 24, hour);
    const shot: Shot = { stream: 'yard', minute: (capturedAt - START) / 60_000, number: offset, seen: [] };
    const key = detectionsKey({ streamId: 'yard', capturedAt }, { topic: 'd', partition: 0, offset });
    const body = lineOf(shot, offset);
    await bucket.put({ key, body });
    await bucket.put({ key: String(lateKey({ key, body }, capturedAt)), body: '' });
  };
  const methods = ['page', 'folders', 'read', 'save', 'put', 'putOver', 'remove'] as const;
  const asked = methods.map((method) => vi.spyOn(bucket, method));
  const costs: number[] = [];
  for (let hour = 1; hour <= 8; hour++) {
    // The rest of the hour before, and the begin of this one.
    await store(hour - 1, 2 * hour);
    await store(hour, 2 * hour + 1);
    for (const one of asked) one.mockClear();
    const done = await compact(bucket, { now: START + (3 + hour) * HOUR_MS, part: partOf('yard') });
    expect(done).toMatchObject({ objects: 2, frames: 2 });
    costs.push(asked.reduce((sum, { mock }) => sum + mock.calls.length, 0));
  }
  expect(costs.at(-1)).toBe(costs[2]);
  expect([...bucket.objects.keys()].filter((key) => key.startsWith('late/'))).toEqual([]);
});

test('an hour that is not over is left, and seen all the same', async () => {
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

test('lines that are none are left out, and hurt no others', async () => {
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

test('counts by class lie in bins, over open and closed hours', async () => {
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

const event = (number: number, more: Partial<SceneEvent> = {}): SceneEvent => ({
  event_id: number.toString(16).padStart(32, '0'),
  type: 'entered_zone',
  rule: 'in',
  stream_id: number % 2 ? 'yard' : 'gate',
  at: START + number * 20 * 60_000,
  track_id: 't-1',
  class_name: 'person',
  zone: 'lawn',
  frames: ['annotated/a.jpg'],
  ...more,
});
const keep = (bucket: MemoryBucket, one: SceneEvent) =>
  bucket.put({ key: eventKey(one), body: JSON.stringify(one) });

test('hours of events that the tables hold are not listed again, though detections of that age expire', async () => {
  const bucket = new MemoryBucket();
  await keep(bucket, event(0));
  expect(await compact(bucket, { now: START + 3 * HOUR_MS })).toMatchObject({ objects: 1 });
  const page = vi.spyOn(bucket, 'page');
  await compact(bucket, { now: START + 240 * HOUR_MS, expireDays: 3 });
  expect(page.mock.calls.map(([prefix]) => prefix)).toEqual(['late/', 'tables/manifests/']);
});

test('events are found page by page, those of the tables and those since; a redelivered one once', async () => {
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

test('a gap says whether the camera was silent, frames are missing, or ingest began anew', async () => {
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

test('a question can be given up, a forged cursor is refused, and the next question is answered', async () => {
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

test('open hours that there is no room for are left for the next page, and nothing is missing in what is said to be whole', async () => {
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
    /over 0 MiB are not in the tables yet/,
  );
  await expect(tables.parquet(asked)).rejects.toThrow(QueryError);
  await tables.close();
});

test('an hour that there is no room for is refused with what to ask instead, and a stream of it is found', async () => {
  const bucket = new MemoryBucket();
  await storeHours(bucket, [0], 9);
  const tables = new Tables(bucket, NOT_KEPT, { ...AMPLE, keptBytes: 60_000 });
  const asked = { confidence: 0, from: START, to: START + 1.5 * HOUR_MS, limit: 500 };
  await expect(tables.search(asked)).rejects.toThrow(
    'not in the tables yet of what was stored since 2026-10-25T00:00:00.000Z: ask for fewer streams or a shorter time',
  );
  const ofOne = { ...asked, streams: ['yard'] };
  expect(await tables.search(ofOne)).toMatchObject({ total: 120, frames: plainScan(bucket, ofOne) });
  await tables.close();
});

test('files that are too many for a page are left for the next one, and a question of the whole range is refused', async () => {
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

test('a table that was cut off is named with the remedy, and the remedy brings all frames back', async () => {
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

test('a question that takes too long says what to ask instead', async () => {
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

test('a question lists each thing once, and asks of no hour that the tables hold', async () => {
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

test('what comes into the tables between two questions is missing in neither', async () => {
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

test('of a file only the wanted columns and row groups are read, and each is a file that the database reads', async () => {
  const { database, bucket, object, signal } = await threeGroups();
  using files = new FileCache(bucket, database.folder, 1e6, 256).use();
  const read = vi.spyOn(bucket, 'read');
  const wanted = {
    columns: ['captured_at', 'class_name'],
    mayMatch: (group: RowGroup) => mayBeOf(group, 'camera-1') || timesOf(group).from > 4_000,
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

test('a class that never occurs costs one small read a file, and a file without its list of classes is searched', async () => {
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

test('of which streams a row group may be is told by bytes, as bounds are sorted, and wherever they are cut', () => {
  const between = (least: Buffer, most: Buffer) => ({
    bounds: new Map([['stream_id', [least, most] as const]]),
  });
  expect(mayBeOf(between(Buffer.from('\uff5e'), Buffer.from('\u{1f600}')), '\u{1f415}')).toBe(true);
  expect(mayBeOf(between(Buffer.from('\u72d7').subarray(0, 2), Buffer.from('z')), '\u72d7')).toBe(false);
  expect(mayBeOf(between(Buffer.from('\u72d7').subarray(0, 2), Buffer.of(0xff)), '\u72d7')).toBe(true);
  expect(mayBeOf({ bounds: new Map() }, 'yard')).toBe(true);
  const short = new Map([['captured_at', [Buffer.of(1), Buffer.of(2)] as const]]);
  expect(timesOf({ bounds: short })).toEqual(timesOf({ bounds: new Map() }));
});

test('a page that many files of both tables could fill ends before the range does, and reads its newest part', async () => {
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
  const from = await fittingFrom({ groups }, [one, one], range, 24 * 10, signal);
  expect(from).toBe(START + 15 * 60_000 + 1);
});

test('files that a question reads stay until it is answered, whatever others ask', async () => {
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

test('several questions at once hold no more parts of files in memory than one', async () => {
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

test('a version that is replaced while it is read is no mixture', async () => {
  const { database, bucket, object, signal } = await threeGroups();
  using files = new FileCache(bucket, database.folder, 1e6, 256).use();
  await files.groups(object, everyGroup);
  await bucket.put({ key: 'a', body: Buffer.alloc(object.size, 1) });
  await expect(files.paths([object], everyGroup, signal)).rejects.toSatisfy(isChanged);
  await database.close();
});

test('a file of events that is replaced while it is read does not fail the question', async () => {
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

test('of a database no folder stays behind, however its process ends; closing gives up what runs', async () => {
  const module = JSON.stringify(join(import.meta.dirname, 'duckdb.ts'));
  const script = `import { openDatabase } from ${module};
    console.log((await openDatabase()).folder); process.exit(1)`;
  const { stdout, pid } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    encoding: 'utf8',
  });
  const ended = stdout.trim();
  expect(ended).toContain(`-${pid}-`);
  expect(existsSync(ended)).toBe(false);
  // As a process leaves it that is killed.
  await mkdir(ended);
  const database = await openDatabase();
  expect(existsSync(ended)).toBe(false);
  const endless = database.run('SELECT count(*) FROM range(1000000000000) WHERE range % 7 = 8');
  await Promise.all([expect(endless).rejects.toThrow(), sleep(50).then(() => database.close())]);
  expect(existsSync(database.folder)).toBe(false);
});

test('of a file that is written anew within a second, the new content is read', async () => {
  const database = await openDatabase();
  const path = join(database.folder, 'former.parquet');
  for (const rows of [1, 100_000, 7]) {
    await database.run(`COPY (FROM range(${rows})) TO '${path}' (FORMAT parquet)`);
    const [counted] = await database.run(
      `SELECT count(*) AS n, max(range) + 1 AS last FROM read_parquet('${path}')`,
    );
    expect(counted).toEqual({ n: BigInt(rows), last: BigInt(rows) });
  }
  await database.close();
});

test('what a question reads stays until it is answered, whatever others ask', async () => {
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

test('a page without time for all open hours holds the hours that it read', async () => {
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

/** Every frame in the tables of one bucket, by one search of everything. */
async function everything(bucket: MemoryBucket): Promise<FoundFrame[]> {
  const tables = new Tables(bucket, NOT_KEPT);
  const found = await everyPage(tables, { confidence: 0, from: 0, to: START + 100 * HOUR_MS, limit: 5_000 });
  await tables.close();
  return found.frames;
}
const tablesAlone = (bucket: MemoryBucket): MemoryBucket => {
  const alone = new MemoryBucket();
  for (const [key, object] of bucket.objects) if (key.startsWith('tables/')) alone.objects.set(key, object);
  // Streams are known by their folders.
  for (const stream of STREAMS)
    alone.objects.set(`detections/${stream}/x`, { body: Buffer.alloc(0), stored: 0, etag: '' });
  return alone;
};
const allOf = { confidence: 0, from: 0, to: START + 100 * HOUR_MS, limit: 5_000 };
const seenAs = (class_name: string) => [{ class_name, confidence: 0.9, track: false }];

test.each([0, 1, 2])(
  'of two runs at once none loses what the other wrote: one stops before its write %i',
  async (stop) => {
    const bucket = new MemoryBucket();
    const [old, more]: Shot[] = [
      { stream: 'yard', minute: 1, number: 0, seen: seenAs('cat') },
      { stream: 'yard', minute: 2, number: 1, seen: seenAs('dog') },
    ];
    const options = { now: START + 3 * HOUR_MS };
    await store(bucket, [old as Shot], 0);
    let writes = 0;
    const slow = seenBy(bucket, async () => {
      if (writes++ !== stop) return;
      // The same frame with other detections, and another frame.
      await store(bucket, [{ ...(old as Shot), seen: seenAs('fox') }, more as Shot], 1);
      await compact(bucket, options);
    });
    await compact(slow, options);
    const expected = plainScan(bucket, allOf);
    expect(expected).toHaveLength(2);
    expect(await everything(tablesAlone(bucket))).toEqual(expected);
    expect(await compact(bucket, options)).toMatchObject({ objects: 0 });
  },
);

test('hours of a day lie in one file while it is small, and a late batch finds the file of its hour', async () => {
  const at = (minute: number, number: number): Shot => ({
    stream: 'yard',
    minute,
    number,
    seen: seenAs('cat'),
  });
  const filesOf = async (fileBytes: number) => {
    const bucket = new MemoryBucket();
    const run = () => compact(bucket, { now: START + 30 * HOUR_MS, fileBytes });
    for (const [index, hour] of [1, 2, 5, 3].entries()) {
      await store(bucket, [at(hour * 60, index)], index);
      await run();
    }
    // Late, and of an hour that has its file.
    await store(bucket, [at(2 * 60 + 20, 9)], 9);
    await run();
    expect(await everything(tablesAlone(bucket))).toEqual(plainScan(bucket, allOf));
    const files = [...bucket.objects.keys()].filter((key) => key.startsWith('tables/detections/'));
    return files.map((key) => key.split('/')[3]).sort();
  };
  expect(await filesOf(1024 ** 2)).toEqual(['hour=00']);
  expect(await filesOf(1)).toEqual(['hour=00', 'hour=01', 'hour=02', 'hour=04']);
});

test('NDJSON expires once the tables hold it and it is old enough, never before', async () => {
  const bucket = new MemoryBucket();
  const shots = [0, 1].map(
    (number): Shot => ({ stream: 'yard', minute: number, number, seen: seenAs('cat') }),
  );
  bucket.now = START;
  for (const [index, one] of shots.entries()) await store(bucket, [one], index);
  const lines = () => [...bucket.objects.keys()].filter((key) => key.startsWith('detections/'));
  const expected = plainScan(bucket, allOf);
  // An object is first merged into the tables, and can then expire.
  expect(await compact(bucket, { now: START + 5 * DAY_MS, expireDays: 3 })).toMatchObject({
    objects: 2,
    expired: 0,
  });
  expect(await compact(bucket, { now: START + 2 * DAY_MS, expireDays: 3 })).toMatchObject({ expired: 0 });
  // An object that was rewritten since then is read again first.
  bucket.now = START + 4 * DAY_MS;
  await store(bucket, [{ ...(shots[0] as Shot), seen: seenAs('fox') }], 0);
  const renewed = plainScan(bucket, allOf);
  expect(renewed).not.toEqual(expected);
  expect(await compact(bucket, { now: START + 5 * DAY_MS, expireDays: 3 })).toMatchObject({
    objects: 1,
    expired: 1,
  });
  expect(lines()).toHaveLength(1);
  expect(await compact(bucket, { now: START + 8 * DAY_MS, expireDays: 3 })).toMatchObject({ expired: 1 });
  expect(lines()).toEqual([]);
  expect(await everything(tablesAlone(bucket))).toEqual(renewed);
  await expect(compact(bucket, { expireDays: 2 })).rejects.toThrow(
    'NDJSON is kept for 3 days at least, not 2',
  );
});

test('a run that is told to stop stops at once, and the next one goes on', async () => {
  const bucket = new MemoryBucket();
  for (const [index, hour] of [0, 1, 2].entries())
    await store(bucket, [{ stream: 'yard', minute: hour * 60, number: index, seen: [] }], index);
  const now = START + 9 * HOUR_MS;
  const stop = new AbortController();
  let writes = 0;
  const told = seenBy(bucket, async () => {
    if (writes++ === 3) stop.abort(new Error('time is up'));
  });
  await expect(compact(told, { now, signal: stop.signal })).rejects.toThrow('time is up');
  expect(writes).toBeLessThan(7);
  expect(await compact(bucket, { now })).toMatchObject({ objects: 2, frames: 2 });
  expect(await everything(tablesAlone(bucket))).toEqual(plainScan(bucket, allOf));
});

test('an hour that fails does not keep the others from the tables, and is named', async () => {
  const bucket = new MemoryBucket();
  for (const [index, hour] of [0, 30].entries())
    await store(bucket, [{ stream: 'yard', minute: hour * 60, number: index, seen: [] }], index);
  const now = START + 40 * HOUR_MS;
  const broken = `tables/frames/date=2026-10-24/hour=23/part-${partOf('yard')}.parquet`;
  await bucket.put({ key: broken, body: 'no Parquet' });
  await expect(compact(bucket, { now })).rejects.toThrow(/^part . of date=2026-10-24\/hour=23: /);
  bucket.objects.delete(broken);
  expect(await compact(bucket, { now })).toMatchObject({ objects: 1, frames: 1 });
});

test('an hour without end stops growing, is named, and keeps no other hour from the tables', async () => {
  const bucket = new MemoryBucket();
  const now = START + 90 * DAY_MS;
  const redrive = async (minute: number, number: number) => {
    await store(bucket, [{ stream: 'yard', minute, number, seen: seenAs('cat') }], number);
    const key = detectionsKey(
      { streamId: 'yard', capturedAt: START + minute * 60_000 + number },
      { topic: 'd', partition: 0, offset: number },
    );
    await bucket.put({ key: String(lateKey({ key, body: String(number) }, 0)), body: '' });
  };
  const run = () => compact(bucket, { now, fileBytes: 1, maxFileBytes: 100 });
  await redrive(1, 0);
  await run();
  const size = () => [...bucket.objects.keys()].filter((key) => key.startsWith('tables/frames/')).length;
  const before = await everything(tablesAlone(bucket));
  await redrive(2, 1);
  await redrive(61, 2);
  await expect(run()).rejects.toThrow(/frames\/date=2026-10-24\/hour=23.* does a clock stand still/);
  expect(await everything(tablesAlone(bucket))).toHaveLength(before.length + 1);
  expect(size()).toBe(2);
  const notes = [...bucket.objects.keys()].filter((key) => key.startsWith('late/'));
  expect(notes).toEqual([expect.stringContaining('hour=23/')]);
});

test('loads are cut by bytes, and by objects where these are small', () => {
  const object = (size: number) => ({ key: 'k', etag: '', stored: 0, size });
  const sizes = (of: number[], bytes: number, most?: number) =>
    [...portionsOf(of.map(object), bytes, most)].map((some) => some.map(({ size }) => size));
  expect(sizes([4, 4, 4, 20, 1], 10)).toEqual([[4, 4], [4], [20], [1]]);
  expect(sizes([1, 1, 1], 10, 2)).toEqual([[1, 1], [1]]);
  expect(sizes([], 10)).toEqual([]);
});

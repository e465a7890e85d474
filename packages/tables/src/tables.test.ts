import { annotatedKey, detectionsKey, eventKey } from '@video-pipeline/frame';
import type { SceneEvent } from '@video-pipeline/scene';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MemoryBucket } from '../../../test/support/memory-bucket.ts';
import {
  compact,
  type EventPage,
  type EventQuery,
  type FoundFrame,
  type Query,
  QueryError,
  Tables,
} from './index.ts';
import { manifestKey, partOf } from './schema.ts';

const HOUR_MS = 3_600_000;
/** Half an hour before midnight: frames lie on both sides of it. */
const START = Date.UTC(2026, 9, 24, 23, 30);
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
      ...(lawn ? { zones: ['lawn', "it's"] } : {}),
    })),
    annotated_key: annotatedKey('annotated', frame),
    ...(number === 3 ? { archive: { key: 'annotated/x.tar', offset: 512, length: 9 } } : {}),
  };
  return JSON.stringify(facts);
}

/** What annotate stores of a batch: an NDJSON for each of its streams, under the hour of the first frame. */
async function store(bucket: MemoryBucket, batch: readonly Shot[], offset: number): Promise<void> {
  for (const [stream, shots] of Map.groupBy(batch, (shot) => shot.stream)) {
    const [first] = shots;
    if (!first) continue;
    const capturedAt = START + first.minute * 60_000 + first.number;
    bucket.now += 1_000;
    await bucket.put({
      key: detectionsKey({ streamId: stream, capturedAt }, { topic: 'd', partition: 0, offset }),
      body: shots.map((shot) => `${lineOf(shot, offset)}\n`).join(''),
    });
  }
}

/** The same question, answered by reading every line that is stored. */
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
/** A batch; some are redelivered, so that frames lie in two objects, or replayed. Then a run, which may be cut off. */
const step = fc.record({
  // An object holds a frame once.
  batch: fc.uniqueArray(shot, { minLength: 1, maxLength: 12, selector: idOf }),
  again: fc.boolean(),
  run: fc.oneof(fc.constant('none'), fc.constant('whole'), fc.integer({ min: 0, max: 5 })),
});

// The seed makes files that are written anew within a second, of which DuckDB's cache gave what was there before.
test.each([undefined, -85601240])(
  'a search finds what a plain scan of all NDJSON finds, whenever it was compacted and cut off',
  async (seed) => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 2, maxLength: 6 }),
        fc.array(query, { minLength: 3, maxLength: 3 }),
        async (steps, queries) => {
          const bucket = new MemoryBucket();
          const tables = new Tables(bucket, 0);
          bucket.now = START;
          // The hours up to here are closed; what comes after is open.
          const now = START + 2 * HOUR_MS;
          for (const [index, { batch, again, run }] of steps.entries()) {
            await store(bucket, batch, index * 100);
            if (again) await store(bucket, batch.slice(1), index * 100 + 1);
            if (run === 'none') continue;
            let puts = 0;
            bucket.beforePut = () => {
              if (puts++ === run) throw new Error('killed');
            };
            await compact(bucket, { now }).catch(({ message }) => expect(message).toBe('killed'));
            bucket.beforePut = () => {};
          }
          await compact(bucket, { now });
          for (const asked of queries) {
            const expected = plainScan(bucket, asked);
            const { frames, total } = await everyPage(tables, asked);
            expect(frames).toEqual(expected);
            expect(total).toBe(expected.length);
            const counts = await tables.histogram(asked, 7 * 60_000);
            const binOf = ({ captured_at }: FoundFrame) =>
              Math.floor((captured_at - asked.from) / (7 * 60_000));
            expect(counts).toEqual(
              counts.map((_, bin) => expected.filter((one) => binOf(one) === bin).length),
            );
          }
          await tables.close();
        },
      ),
      { numRuns: 5, endOnFailure: true, ...(seed === undefined ? {} : { seed }) },
    );
  },
  120_000,
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
  expect(await compact(bucket, { now })).toEqual({ objects: 2, frames: 40, written: 1 });
  expect(await compact(bucket, { now })).toEqual({ objects: 0, frames: 0, written: 0 });
  await store(bucket, shots.slice(40), 40);
  expect(await compact(bucket, { now })).toEqual({ objects: 1, frames: 10, written: 1 });
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
  // The two days that are looked at again, of that stream alone.
  expect(listed).toEqual([
    'detections/',
    'detections/yard/',
    'detections/yard/date=2026-09-29/',
    'detections/yard/date=2026-09-30/',
  ]);
});

test('an hour that is not over is left, and seen all the same', async () => {
  const bucket = new MemoryBucket();
  const seen = [{ class_name: 'cat', confidence: 0.9, track: false }];
  await store(bucket, [{ stream: 'yard', minute: 1, number: 0, seen }], 0);
  expect(await compact(bucket, { now: START + 10 * 60_000 })).toMatchObject({ written: 0 });
  const tables = new Tables(bucket, 0);
  const asked = { classes: ['cat'], confidence: 0, from: START, to: START + HOUR_MS, limit: 5 };
  expect((await tables.search(asked)).frames).toHaveLength(1);
  // What was read once is not read again.
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
  const tables = new Tables(bucket, 0);
  const { counts } = await tables.counts(['yard'], {
    from: START,
    to: START + 2 * HOUR_MS,
    binMs: 30 * 60_000,
  });
  expect(counts).toEqual([
    { bin: 0, class_name: 'cat', count: 2 },
    { bin: 1, class_name: 'cat', count: 1 },
    { bin: 3, class_name: 'cat', count: 1 },
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

test('events are found page by page, those of the tables and those since; a redelivered one once', async () => {
  const bucket = new MemoryBucket();
  const all = Array.from({ length: 9 }, (_, number) => event(number));
  for (const one of all.slice(0, 6)) await keep(bucket, one);
  await bucket.put({ key: `${eventKey(event(1)).slice(0, -9)}junk.json`, body: '{"at":5}' });
  await compact(bucket, { now: START + 150 * 60_000 });
  expect(bucket.objects.has('tables/events/date=2026-10-25/part-0.parquet')).toBe(true);
  for (const one of [event(1), ...all.slice(5)]) await keep(bucket, one);
  await compact(bucket, { now: START + 180 * 60_000 });
  const tables = new Tables(bucket, 0);
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
  const tables = new Tables(bucket, 0);
  const { gaps, frames } = await tables.history(
    ['yard'],
    { from: START, to: START + HOUR_MS, binMs: 5 * 60_000 },
    60_001,
  );
  expect(gaps).toEqual([
    { stream_id: 'yard', from: START + 60_001, to: START + 9 * 60_000 + 102, missing: 100, restarted: false },
  ]);
  expect(frames).toEqual([
    { bin: 0, stream_id: 'yard', frames: 2 },
    { bin: 1, stream_id: 'yard', frames: 1 },
    { bin: 2, stream_id: 'yard', frames: 1 },
  ]);
  await tables.close();
});

test('a question can be given up, a forged cursor is refused, and the next question is answered', async () => {
  const tables = new Tables(new MemoryBucket(), 0);
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

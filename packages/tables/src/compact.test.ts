import { DAY_MS, detectionsKey, eventKey, HOUR_MS, lateKey } from '@video-pipeline/frame';
import { expect, test, vi } from 'vitest';
import { MemoryBucket } from '../../../test/support/memory-bucket.ts';
import {
  allOf,
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
import { compact, type FoundFrame, Tables } from './index.ts';
import { portionsOf } from './lines.ts';
import { manifestKey, partOf } from './schema.ts';

test('a second run has nothing to do, and reads only batches that came late', async () => {
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

test('objects stored between two runs are compacted by the next run, however late it is', async () => {
  const bucket = new MemoryBucket();
  const of = (hour: number, number: number): Shot => ({
    stream: 'yard',
    minute: 60 * hour,
    number,
    seen: [],
  });
  await store(bucket, [of(0, 1), of(20, 1)], 0);
  await compact(bucket, { now: START + 21 * HOUR_MS });
  // An hour late, as of a stage that was away: too early for a note.
  await store(bucket, [of(20, 2)], 25);
  bucket.beforePut = (key) => {
    if (key.startsWith('tables/frames/')) throw new Error('S3 is away');
  };
  for (const days of [9, 10])
    await expect(compact(bucket, { now: START + days * DAY_MS })).rejects.toThrow('S3 is away');
  bucket.beforePut = () => {};
  expect(await compact(bucket, { now: START + 10 * DAY_MS })).toMatchObject({ frames: 1 });
  expect(await compact(bucket, { now: START + 10 * DAY_MS })).toMatchObject({ objects: 0 });
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

test("the number of requests of a run does not grow with the bucket's age, and late old dates are found", async () => {
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

test('foreign folders beside dates and hours are ignored, and no old manifest is listed for them', async () => {
  const bucket = new MemoryBucket();
  storeDays(bucket, 40);
  const folders = ['copy/hour=07', 'date=2026-11-20/copy', 'date=2026-11-20/hour=7'];
  for (const folder of folders)
    await bucket.put({ key: `detections/yard/${folder}/d-0-0.ndjson`, body: '{}' });
  await compact(bucket, { now: START });
  const listed: string[] = [];
  const { page } = bucket;
  bucket.page = async (...asked) => {
    const found = await page.apply(bucket, asked);
    listed.push(...found.objects.map(({ key }) => key));
    return found;
  };
  expect(await compact(bucket, { now: START + HOUR_MS })).toMatchObject({ objects: 0 });
  expect(listed.filter((key) => key.startsWith('tables/manifests/')).length).toBeLessThan(4 * 4);
  const held = [...bucket.objects.keys()].filter((key) => key.startsWith('tables/manifests/'));
  expect(held.filter((key) => folders.some((folder) => key.includes(folder)))).toEqual([]);
});

test('a late object of an old hour is compacted by the next run', async () => {
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

test('with a clock that is ten years behind, each run has the same number of requests', async () => {
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
    // The rest of the hour before, and the start of this one.
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

test('hours of events in the tables are not listed again, although detections of that age expire', async () => {
  const bucket = new MemoryBucket();
  await keep(bucket, event(0));
  expect(await compact(bucket, { now: START + 3 * HOUR_MS })).toMatchObject({ objects: 1 });
  await compact(bucket, { now: START + 239 * HOUR_MS });
  const page = vi.spyOn(bucket, 'page');
  await compact(bucket, { now: START + 240 * HOUR_MS, expireDays: 3 });
  expect(page.mock.calls.map(([prefix]) => prefix)).toEqual(['late/', 'tables/manifests/']);
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

test.each([0, 1, 2])(
  'of two concurrent runs neither loses rows of the other: one is stopped before its write %i',
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

test("hours of a day are in one file while it is small, and a late batch goes into its hour's file", async () => {
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
  // What comes later, of the time between two files, lies in the first of them.
  expect(await filesOf(1)).toEqual(['hour=00', 'hour=01', 'hour=04']);
});

test('after two concurrent runs wrote a file, the next hour is in one file', async () => {
  const at = (hour: number, number: number, objects = 1): Shot => ({
    ...{ stream: 'yard', minute: 30 + 60 * hour, number },
    seen: seenAs('cat').flatMap((one) =>
      Array.from({ length: objects }, (_, i) => ({ ...one, confidence: ((7 * i + number) % 97) / 100 })),
    ),
  });
  const begin = async () => {
    const bucket = new MemoryBucket();
    await store(bucket, [at(0, 0)], 0);
    await compact(bucket, { now });
    return bucket;
  };
  const now = START + 30 * HOUR_MS;
  const sizeOf = (bucket: MemoryBucket, table: string) =>
    bucket.objects.get(`tables/${table}/date=2026-10-25/hour=00/part-${partOf('yard')}.parquet`)?.body
      .length ?? 0;
  const fill = (bucket: MemoryBucket) =>
    store(
      bucket,
      Array.from({ length: 30 }, (_, number) => at(2, number, 20)),
      2,
    );
  const alone = await begin();
  const before = sizeOf(alone, 'detections');
  await fill(alone);
  await compact(alone, { now });
  // Small by the old list of detections with the new one of frames, and full by both new ones.
  const fileBytes = before + sizeOf(alone, 'frames') + 1;
  expect(before + sizeOf(alone, 'detections')).toBeGreaterThan(2 * before);

  const bucket = await begin();
  await store(bucket, [at(3, 0), at(3, 1)], 3);
  const [listed, filled, begins, written] = Array.from({ length: 4 }, () => Promise.withResolvers<void>());
  const plain = seenBy(bucket, async () => {});
  const isFrames = (key: string) => key.startsWith('tables/frames/');
  const slow = compact(
    {
      ...plain,
      async page(prefix, options) {
        if (isFrames(prefix)) {
          listed?.resolve();
          await filled?.promise;
        }
        return plain.page(prefix, options);
      },
      async putOver(object, etag) {
        if (isFrames(object.key)) await begins?.promise;
        const done = await plain.putOver(object, etag);
        if (isFrames(object.key)) written?.resolve();
        return done;
      },
    },
    { now, fileBytes },
  );
  await listed?.promise;
  await fill(bucket);
  let puts = 0;
  const filling = compact(
    {
      ...plain,
      async putOver(object, etag) {
        if (isFrames(object.key) && ++puts === 2) {
          begins?.resolve();
          await written?.promise;
        }
        const done = await plain.putOver(object, etag);
        if (isFrames(object.key)) filled?.resolve();
        return done;
      },
    },
    { now, fileBytes },
  );
  await Promise.all([slow, filling]);
  expect(await everything(tablesAlone(bucket))).toEqual(plainScan(bucket, allOf));
});

test('NDJSON expires only after the tables hold it and it is old enough', async () => {
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

test('an aborted run stops at once, and the next run continues', async () => {
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

test('an hour that fails is named, and the other hours are compacted', async () => {
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

test('an hour that is too large stops growing, is named, and does not block other hours', async () => {
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
  await expect(run()).rejects.toThrow(/frames\/date=2026-10-24\/hour=00.* does a clock stand still/);
  expect(await everything(tablesAlone(bucket))).toHaveLength(before.length + 1);
  expect(size()).toBe(2);
  const notes = [...bucket.objects.keys()].filter((key) => key.startsWith('late/'));
  expect(notes).toEqual([expect.stringContaining('hour=23/')]);
  // A file of that size takes no more, and the hours after it go on.
  await redrive(121, 3);
  await expect(run()).rejects.toThrow('does a clock stand still');
  expect(await everything(tablesAlone(bucket))).toHaveLength(before.length + 2);
});

test('objects are read in portions limited by bytes, and by number where objects are small', () => {
  const object = (size: number) => ({ key: 'k', etag: '', stored: 0, size });
  const sizes = (of: number[], bytes: number, most?: number) =>
    [...portionsOf(of.map(object), bytes, most)].map((some) => some.map(({ size }) => size));
  expect(sizes([4, 4, 4, 20, 1], 10)).toEqual([[4, 4], [4], [20], [1]]);
  expect(sizes([1, 1, 1], 10, 2)).toEqual([[1, 1], [1]]);
  expect(sizes([], 10)).toEqual([]);
});

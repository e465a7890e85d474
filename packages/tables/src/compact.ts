import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { hourFolder } from '@video-pipeline/frame';
import {
  type FolderReader,
  inParallel,
  isMissing,
  type ListedObject,
  ObjectTooLargeError,
  objectsOf,
  type Reader,
  type Store,
} from '@video-pipeline/storage';
import { type Database, fileList, openDatabase } from './duckdb.ts';
import {
  DAY_MS,
  datedLines,
  EVENTS,
  eventsKey,
  type FrameTable,
  HOUR_MS,
  manifestKey,
  newestOf,
  ORDER,
  partOf,
  ROWS_OF,
  readEvents,
  readLines,
  sameFrame,
  type TableName,
  tableKey,
} from './schema.ts';

/** The bucket as compaction needs it. */
export type TableBucket = FolderReader & Store;

/** What a run has done. */
export interface Compacted {
  /** Objects that the tables hold now and didn't before. */
  objects: number;
  frames: number;
  /** Hours and parts of which something was written. */
  written: number;
}

export interface CompactOptions {
  /** Epoch ms. */
  now?: number;
  /** Looks at every hour again, not at those of the last two days alone. */
  all?: boolean;
  /** Only this part of the hours; runs for different parts may be at the same time. */
  part?: string | undefined;
  signal?: AbortSignal;
}

interface Unit {
  /** `date=.../hour=..` */
  hour: string;
  part: string;
  /** Folders of the hour whose objects belong to the part. */
  folders: string[];
}

/** Names and versions of the objects that the tables hold. */
type Manifest = Record<string, string>;

/** An hour is closed so long after its end: its last batch is stored by then. */
const SETTLE_MS = 120_000;
/** Redriven and replayed frames come late; hours of the last days are looked at again in each run. */
const LOOK_BACK_MS = 48 * HOUR_MS;
const READS = 16;
/** Folders of a date. */
export const HOURS = Array.from({ length: 24 }, (_, hour) => `hour=${String(hour).padStart(2, '0')}`);
/** Of the texts that are held at once. */
const MAX_CHARACTERS = 512 * 1024 ** 2;
/** Objects that are read at once, so that neither memory nor the disk fills up. */
const LOAD = 5_000;

/**
 * Brings the NDJSON and the events of closed hours into the tables. Each frame is there once: a part of an hour is one
 * file, and is written whole with the new rows in the place of those of the same frames; so is a day of events. What the
 * tables hold is noted last, so a run that was cut off is made good by the next one, which writes the same again. Only one
 * run of a part at a time.
 */
export async function compact(
  bucket: TableBucket,
  { now = Date.now(), all = false, part, signal }: CompactOptions = {},
): Promise<Compacted> {
  const done: Compacted = { objects: 0, frames: 0, written: 0 };
  const covered = new Set<string>();
  for await (const { key } of objectsOf(bucket, 'tables/manifests/')) covered.add(key);
  const recent = hourFolder(Math.max(0, now - LOOK_BACK_MS));
  const isDone = (hour: string, of: string) => !all && hour < recent && covered.has(manifestKey(hour, of));
  const units = await closedHours(bucket, hourFolder(now - SETTLE_MS), part, isDone);
  if (units.length === 0) return done;
  const database = await openDatabase();
  try {
    for (const unit of units) {
      signal?.throwIfAborted();
      await compactUnit(bucket, database, unit, done);
    }
  } finally {
    await database.close();
  }
  return done;
}

/**
 * Hours before `open` that are not done, the oldest first, with the folders in which something is stored of them. Folders of
 * other parts, and dates of which each hour is done, are not listed: what is stored grows for years.
 */
async function closedHours(
  bucket: TableBucket,
  open: string,
  part: string | undefined,
  isDone: (hour: string, part: string) => boolean,
): Promise<Unit[]> {
  const unitsOf = async (root: string, of: string): Promise<Unit[]> => {
    const isWhole = (date: string) => HOURS.every((hour) => isDone(`${date}/${hour}`, of));
    const dates = (await bucket.folders(root)).filter((date) => date <= open && !isWhole(date));
    const hours = dates.map(async (date) => {
      const names = await bucket.folders(`${root}${date}/`);
      return names.map((name) => `${date}/${name}`);
    });
    return (await Promise.all(hours))
      .flat()
      .filter((hour) => hour < open && !isDone(hour, of))
      .map((hour) => ({ hour, part: of, folders: [`${root}${hour}/`] }));
  };
  const isWanted = (of: string) => part === undefined || part === of;
  const found = isWanted(EVENTS) ? await unitsOf('events/', EVENTS) : [];
  const streams = part === EVENTS ? [] : await bucket.folders('detections/');
  const wanted = streams.filter((stream) => isWanted(partOf(stream)));
  const lists = await inParallel(wanted, READS, (stream) => unitsOf(`detections/${stream}/`, partOf(stream)));
  found.push(...lists.flat());
  return [...Map.groupBy(found, (unit) => `${unit.hour} ${unit.part}`).values()]
    .map((units) => ({ ...(units[0] as Unit), folders: units.flatMap(({ folders }) => folders) }))
    .sort((a, b) => (a.hour < b.hour ? -1 : 1));
}

async function compactUnit(
  bucket: TableBucket,
  database: Database,
  { hour, part, folders }: Unit,
  done: Compacted,
): Promise<void> {
  const held = await readManifest(bucket, manifestKey(hour, part));
  const lists = folders.map((folder) => Array.fromAsync(objectsOf(bucket, folder)));
  const listed = (await Promise.all(lists)).flat().filter(({ key }) => key.endsWith('json'));
  const fresh = listed.filter(({ key, etag }) => held[key] !== etag).sort(byStored);
  if (fresh.length === 0) return;
  for (let first = 0; first < fresh.length; first += LOAD) {
    const objects = fresh.slice(first, first + LOAD);
    const lines = join(database.folder, 'lines.ndjson');
    await writeFile(lines, await linesOf(bucket, objects));
    const files = fileList([lines]);
    const rows = part === EVENTS ? readEvents(files) : newestOf(`(${readLines(files)})`);
    await database.run(`CREATE OR REPLACE TEMP TABLE fresh AS ${rows}`);
    if (part === EVENTS) await mergeDays(bucket, database);
    else done.frames += await mergeHours(bucket, database, part);
    done.written += 1;
    done.objects += objects.length;
    for (const { key, etag } of objects) held[key] = etag;
    await bucket.put({
      key: manifestKey(hour, part),
      body: JSON.stringify(held),
      contentType: 'application/json',
    });
  }
}

/** Those stored last are last: of two lines for one frame, theirs counts. */
export function byStored(a: ListedObject, b: ListedObject): number {
  return a.stored - b.stored || (a.key < b.key ? -1 : 1);
}

/** What the objects hold, in their order, as {@link readLines} reads it. @throws RangeError when it is too much */
export async function linesOf(
  bucket: Pick<Reader, 'read'>,
  objects: readonly ListedObject[],
): Promise<string> {
  let characters = 0;
  const texts = await inParallel(objects, READS, async ({ key, stored }) => {
    const lines = datedLines(await readText(bucket, key), stored);
    characters += lines.length;
    if (characters > MAX_CHARACTERS)
      throw new RangeError(`${objects.length} objects hold over ${MAX_CHARACTERS} characters`);
    return lines;
  });
  return texts.join('');
}

/** An object may expire between its listing and its reading; a huge one is none of annotate's. */
async function readText(bucket: Pick<Reader, 'read'>, key: string): Promise<string> {
  try {
    return (await bucket.read(key)).toString();
  } catch (error) {
    if (isMissing(error) || error instanceof ObjectTooLargeError) return '';
    throw error;
  }
}

/** Puts the fresh frames into the files of the hours in which they were captured. @returns how many there were */
async function mergeHours(bucket: TableBucket, database: Database, part: string): Promise<number> {
  const hours = await database.run(
    'SELECT line.captured_at // 3600000 AS hour, count(*) AS frames FROM fresh GROUP BY 1 ORDER BY 1',
  );
  let frames = 0;
  for (const row of hours) {
    const start = Number(row.hour) * HOUR_MS;
    frames += Number(row.frames);
    await database.run(
      'CREATE OR REPLACE TEMP TABLE part AS FROM fresh WHERE line.captured_at // 3600000 = $hour::BIGINT',
      { hour: String(row.hour) },
    );
    const key = (table: FrameTable) => tableKey(table, hourFolder(start), part);
    const former = {
      detections: await fetchFormer(bucket, database, 'detections', key('detections')),
      frames: await fetchFormer(bucket, database, 'frames', key('frames')),
    };
    // A batch that was stored before what the tables hold of the same frames changes nothing.
    if (former.frames) {
      await database.run(`DELETE FROM part USING read_parquet(${former.frames}) AS old
        WHERE ${sameFrame('part')} AND old.stored_at > part.stored_at`);
    }
    // Frames last: who finds a frame finds its detections.
    for (const table of ['detections', 'frames'] as const)
      await mergeFile(bucket, database, {
        table,
        key: key(table),
        rows: ROWS_OF[table]('part'),
        former: former[table],
        same: sameFrame('part'),
      });
  }
  return frames;
}

/** Puts the fresh events into the files of their days: they are few, and a file of each hour would be small. */
async function mergeDays(bucket: TableBucket, database: Database): Promise<void> {
  const days = await database.run('SELECT DISTINCT "at" // 86400000 AS day FROM fresh ORDER BY 1');
  for (const { day } of days) {
    await database.run(
      'CREATE OR REPLACE TEMP TABLE part AS FROM fresh WHERE "at" // 86400000 = $day::BIGINT',
      { day: String(day) },
    );
    const key = eventsKey(Number(day) * DAY_MS);
    const former = await fetchFormer(bucket, database, 'events', key);
    const same = 'part.event_id = old.event_id';
    await mergeFile(bucket, database, { table: 'events', key, rows: 'FROM part', former, same });
  }
}

interface Merge {
  table: TableName;
  key: string;
  /** SQL of the new rows. */
  rows: string;
  former: string | undefined;
  /** SQL: whether a row of `part` takes the place of one of `old`. */
  same: string;
}

async function mergeFile(
  bucket: TableBucket,
  database: Database,
  { table, key, rows, former, same }: Merge,
): Promise<void> {
  const merged = join(database.folder, 'merged.parquet');
  const old = former
    ? ` UNION ALL BY NAME SELECT * FROM read_parquet(${former}) AS old WHERE NOT EXISTS (FROM part WHERE ${same})`
    : '';
  await database.run(
    `COPY (SELECT * FROM (${rows}${old}) ORDER BY ${ORDER[table]}) TO '${merged}' (FORMAT parquet, PARQUET_VERSION v2, COMPRESSION zstd)`,
  );
  await bucket.put({ key, body: await readFile(merged), contentType: 'application/vnd.apache.parquet' });
}

/** @returns the file as SQL names it; `undefined` when the bucket has none yet */
async function fetchFormer(
  bucket: Pick<Reader, 'read'>,
  database: Database,
  table: TableName,
  key: string,
): Promise<string | undefined> {
  const path = join(database.folder, `former-${table}.parquet`);
  try {
    await writeFile(path, await bucket.read(key));
    return fileList([path]);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

async function readManifest(bucket: Pick<Reader, 'read'>, key: string): Promise<Manifest> {
  try {
    return JSON.parse((await bucket.read(key)).toString());
  } catch (error) {
    if (isMissing(error)) return {};
    throw error;
  }
}

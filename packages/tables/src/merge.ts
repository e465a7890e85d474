import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DAY_MS, HOUR_MS, hourFolder } from '@video-pipeline/frame';
import {
  type FolderReader,
  ifThere,
  type ListedObject,
  objectsOf,
  type VersionedStore,
} from '@video-pipeline/storage';
import { type Database, fileList } from './duckdb.ts';
import { CLASS_LIST, classesText } from './footer.ts';
import {
  eventsKey,
  type FrameTable,
  HOURS,
  ORDER,
  ROWS_OF,
  sameFrame,
  type TableName,
  tableKey,
} from './schema.ts';

export type TableBucket = FolderReader & VersionedStore;

export interface Merging {
  bucket: TableBucket;
  database: Database;
  part: string;
  /** A file takes the following hours, too, while it and the other table's file of the same name are smaller, bytes. */
  fileBytes: number;
  /** A larger file is not written again, bytes. */
  maxFileBytes: number;
  signal: AbortSignal | undefined;
}

/**
 * Rows of a row group: a third of DuckDB's default. The details of a page's frames are read in half the time, and files
 * are 1 % larger.
 */
const ROW_GROUP = 40_960;
/**
 * Columns with more values in a row group have no dictionary. Times and numbers are then written as differences: a file
 * is 7 % smaller, and the columns that a search reads have a fifth of their size.
 */
const DICTIONARY = 2_048;
/** Form of the tables' files, as options of DuckDB's `COPY`. */
export const FORM = `FORMAT parquet, PARQUET_VERSION v2, COMPRESSION zstd, ROW_GROUP_SIZE ${ROW_GROUP}, DICTIONARY_SIZE_LIMIT ${DICTIONARY}`;
const ATTEMPTS = 10;
/** Longest wait before a merge that another run has overtaken is tried again. */
const RETRY_MS = 500;

/** Merges the rows of `fresh` into the files of their hours. @returns how many frames there were */
export async function mergeHours(merging: Merging): Promise<number> {
  const { database, signal } = merging;
  const sql =
    'SELECT line.captured_at // 3600000 AS hour, count(*) AS frames FROM fresh GROUP BY 1 ORDER BY 1';
  const hours = await database.run(sql, signal);
  for (const { hour } of hours) await untilWritten(merging, () => mergeHour(merging, Number(hour)));
  return hours.reduce((sum, { frames }) => sum + Number(frames), 0);
}

/** Merges the rows of `fresh` into the files of their days. Events are few: a file for each hour would be small. */
export async function mergeDays(merging: Merging): Promise<void> {
  const { database, signal } = merging;
  const sql = 'SELECT DISTINCT "at" // 86400000 AS day FROM fresh ORDER BY 1';
  const days = await database.run(sql, signal);
  for (const { day } of days) await untilWritten(merging, () => mergeDay(merging, Number(day)));
}

/** Repeats a merge with the newest files until no other run was faster. */
async function untilWritten({ part, signal }: Merging, merge: () => Promise<boolean>): Promise<void> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    if (await merge()) return;
    await sleep(RETRY_MS * Math.random(), undefined, { signal });
  }
  throw new Error(`other runs of part ${part} were faster in each of ${ATTEMPTS} attempts`);
}

/**
 * Writes the file of the frames first, and reads it last. So a run that wrote newer lines of the same frames was either
 * seen here, or has changed one of the two versions that are written over.
 * @param hour since 1970
 * @returns whether both files are written
 */
async function mergeHour(merging: Merging, hour: number): Promise<boolean> {
  const { database, part, signal } = merging;
  await choose(merging, 'line.captured_at // 3600000', hour);
  const folder = hourFolder(hour * HOUR_MS);
  const file = (await fileOf(merging, folder)) ?? (await fileOf(merging, folder));
  if (!file) return false;
  const { name, former, next } = file;
  // A batch that was stored before the rows that the tables hold of the same frames changes nothing.
  if (former.frames) {
    const sql = `DELETE FROM part USING read_parquet(${former.frames.path}) AS old
       WHERE ${sameFrame('part')} AND old.stored_at > part.stored_at`;
    await database.run(sql, signal);
  }
  for (const table of ['frames', 'detections'] as const) {
    const [key, rows, same] = [tableKey(table, name, part), ROWS_OF[table]('part'), sameFrame('part')];
    if (!(await mergeFile(merging, { table, key, rows, former: former[table], same, next }))) return false;
  }
  return true;
}

/** Makes the table `part` of the rows of `fresh` for which this SQL has this value. */
function choose({ database, signal }: Merging, sql: string, value: number): Promise<unknown> {
  const statement = `CREATE OR REPLACE TEMP TABLE part AS FROM fresh WHERE ${sql} = $value::BIGINT`;
  return database.run(statement, signal, { value: String(value) });
}

/** @param day since 1970 */
async function mergeDay(merging: Merging, day: number): Promise<boolean> {
  await choose(merging, '"at" // 86400000', day);
  const key = eventsKey(day * DAY_MS);
  const { objects } = await merging.bucket.page(key, { limit: 1 });
  const object = objects.find((one) => one.key === key);
  const former = await fetchFormer(merging, 'events', object);
  const same = 'part.event_id = old.event_id';
  return mergeFile(merging, { table: 'events', key, rows: 'FROM part', former, same });
}

interface Former {
  etag: string;
  bytes: number;
  /** Its path as an SQL list. */
  path: string;
}

/** In the footer of a file of frames: the hour at which the next file of its day begins. */
const NEXT = 'video-pipeline.next';

/**
 * Chooses the file for an hour's rows: the one with the latest start that is not after this hour. When that one is full
 * and holds nothing of this hour or later, it is written again, and names this hour as the start of the next file. So
 * each hour is in one file, in whatever order the hours come, and however many runs there are: a run that would add the
 * hour to the full file had to write over another version.
 * @param hour `date=.../hour=..`
 * @returns the hour that the file is named after, its content, and the start of the next file; undefined for a file
 *   that has just become full: the next attempt finds the next file
 */
async function fileOf(merging: Merging, hour: string) {
  const { bucket, database, part, fileBytes, signal } = merging;
  const [date] = hour.split('/');
  const listed = async (table: FrameTable) => {
    const objects = await Array.fromAsync(objectsOf(bucket, `tables/${table}/${date}/`));
    return (name: string) => objects.find(({ key }) => key === tableKey(table, name, part));
  };
  // In this order, see mergeHour.
  const detections = await listed('detections');
  const frames = await listed('frames');
  const names = HOURS.map((of) => `${date}/${of}`);
  // The first file of a day begins with the day, so that all runs agree on it.
  const name = names.findLast((of) => of <= hour && frames(of) !== undefined) ?? `${date}/${HOURS[0]}`;
  const former = {
    detections: await fetchFormer(merging, 'detections', detections(name)),
    frames: await fetchFormer(merging, 'frames', frames(name)),
  };
  if (!former.frames) return { name, former };
  const { path } = former.frames;
  const sql = `SELECT max(captured_at) // 3600000 * 3600000 AS last, (SELECT any_value(decode(value))
     FROM parquet_kv_metadata(${path}) WHERE decode(key) = '${NEXT}') AS next FROM read_parquet(${path})`;
  const [{ next, last } = {}] = await database.run(sql, signal);
  if (typeof next === 'string')
    return next > hour
      ? { name, former, next }
      : { name: next, former: { detections: undefined, frames: undefined } };
  const bytes = (detections(name)?.size ?? 0) + (frames(name)?.size ?? 0);
  if (bytes < fileBytes || hourFolder(Number(last)) >= hour) return { name, former };
  const [key, rows] = [tableKey('frames', name, part), `${ROWS_OF.frames('part')} WHERE false`];
  const closing = { ...merging, maxFileBytes: Number.POSITIVE_INFINITY };
  await mergeFile(closing, { table: 'frames', key, rows, former: former.frames, same: 'false', next: hour });
  return undefined;
}

interface Merge {
  table: TableName;
  key: string;
  rows: string;
  former: Former | undefined;
  /** SQL of the condition that a row of `part` replaces a row of `old`. */
  same: string;
  /** Of frames: the hour at which the next file begins. */
  next?: string | undefined;
}

/** @returns whether the file was still the one that was read. @throws Error if that one is too large to be rewritten */
async function mergeFile(
  { bucket, database, maxFileBytes, signal }: Merging,
  { table, key, rows, former, same, next }: Merge,
): Promise<boolean> {
  if (former && former.bytes > maxFileBytes)
    throw new Error(
      `${key} has ${former.bytes} bytes and takes no more: does a clock stand still, so that its hour never ends?`,
    );
  const merged = join(database.folder, 'merged.parquet');
  const old = former
    ? ` UNION ALL BY NAME SELECT * FROM read_parquet(${former.path}) AS old WHERE NOT EXISTS (FROM part WHERE ${same})`
    : '';
  const kept = table === 'frames' && next ? `, KV_METADATA {'${NEXT}': '${next}'}` : '';
  const facts = table === 'detections' ? await classesIn(database, `${rows}${old}`, signal) : kept;
  const sql = `COPY (SELECT * FROM (${rows}${old}) ORDER BY ${ORDER[table]}) TO '${merged}' (${FORM}${facts})`;
  await database.run(sql, signal);
  const object = { key, body: await readFile(merged), contentType: 'application/vnd.apache.parquet' };
  return bucket.putOver(object, former?.etag);
}

/** SQL that writes the classes' names into the footer: a search for another class reads no more of the file. */
async function classesIn(database: Database, rows: string, signal: AbortSignal | undefined): Promise<string> {
  const found = await database.run(`SELECT DISTINCT class_name AS name FROM (${rows})`, signal);
  return `, KV_METADATA {'${CLASS_LIST}': '${classesText(found.map(({ name }) => String(name)))}'}`;
}

/** Reads a listed file. If a later version was written meanwhile, the conditional write fails. */
async function fetchFormer(
  { bucket, database }: Merging,
  table: TableName,
  object: ListedObject | undefined,
): Promise<Former | undefined> {
  if (!object) return undefined;
  const path = join(database.folder, `former-${table}.parquet`);
  const bytes = await ifThere(bucket.save(object.key, path));
  return bytes === undefined ? undefined : { etag: object.etag, bytes, path: fileList([path]) };
}

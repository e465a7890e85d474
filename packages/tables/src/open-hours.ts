import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { hourFolder, MAX_TIME } from '@video-pipeline/frame';
import { type FolderReader, type ListedObject, objectsOf, type Reader } from '@video-pipeline/storage';
import { byStored, linesOf } from './compact.ts';
import { type Database, fileList } from './duckdb.ts';
import { LINE_COLUMNS, manifestKey, partOf, readLines } from './schema.ts';

/** The bucket as a search needs it. */
export type SearchBucket = FolderReader;

/** Epoch ms, `from` included, `to` not. */
export interface Range {
  from: number;
  to: number;
}

const HOUR_MS = 3_600_000;
/** What has not been read of the open hours by then is left for the next page. */
const READING_MS = 2_000;
/** Objects of open hours that are kept in memory; the oldest hours are let go. */
const MAX_OBJECTS = 50_000;
const LOAD = 512;

interface Folder {
  prefix: string;
  /** `date=.../hour=..` */
  hour: string;
}

/** What was stored since the tables were written, as the table `raw` of the database: each object is read once. */
export class OpenHours {
  readonly #bucket: SearchBucket;
  readonly #database: Database;
  /** Objects in the table, by folder: key and ETag. */
  readonly #raw = new Map<string, Map<string, string>>();
  #work: Promise<unknown> = Promise.resolve();

  constructor(bucket: SearchBucket, database: Database) {
    this.#bucket = bucket;
    this.#database = database;
  }

  static async open(bucket: SearchBucket, database: Database): Promise<OpenHours> {
    await database.run(`CREATE TABLE raw (folder VARCHAR, ${LINE_COLUMNS})`);
    return new OpenHours(bucket, database);
  }

  get isEmpty(): boolean {
    return [...this.#raw.values()].every((objects) => objects.size === 0);
  }

  /** Reads what the tables don't hold of these streams, the newest first, while there is time. @returns how far back it came */
  async read(streams: readonly string[], range: Range, signal: AbortSignal): Promise<number> {
    const held = await this.#heldHours(range);
    return this.#read(await this.#openFolders(streams, held, range), range.from, signal);
  }

  /** Hours and parts that the tables hold, as keys of manifests. */
  async #heldHours(query: Range): Promise<Set<string>> {
    const range = { from: query.from - HOUR_MS, to: query.to };
    return new Set((await listHours(this.#bucket, 'tables/manifests/', range)).map(({ key }) => key));
  }

  /** Folders of NDJSON that the tables don't hold, the newest first. A batch may begin in the hour before its last frame. */
  async #openFolders(
    streams: readonly string[],
    held: ReadonlySet<string>,
    { from, to }: Range,
  ): Promise<Folder[]> {
    const [first, last] = [hourFolder(Math.max(0, from - HOUR_MS)), hourFolder(Math.min(to, MAX_TIME))];
    const perStream = streams.map(async (stream) => {
      const dates = await this.#bucket.folders(`detections/${stream}/`);
      const inRange = dates.filter(
        (date) => date >= first.slice(0, date.length) && date <= last.slice(0, date.length),
      );
      // A day of which the tables hold each hour has no open ones.
      const open = inRange.filter((date) => !isHeldWhole(held, date, partOf(stream), last));
      const hours = open.map(async (date) => {
        const names = await this.#bucket.folders(`detections/${stream}/${date}/`);
        return names.map((name) => `${date}/${name}`);
      });
      return (await Promise.all(hours))
        .flat()
        .filter((hour) => hour >= first && hour <= last && !held.has(manifestKey(hour, partOf(stream))))
        .map((hour) => ({ prefix: `detections/${stream}/${hour}/`, hour }));
    });
    return (await Promise.all(perStream)).flat().sort((a, b) => (a.hour < b.hour ? 1 : -1));
  }

  /** Reads open hours into the table `raw`, the newest first, while there is time. @returns how far back it came */
  async #read(folders: readonly Folder[], from: number, signal: AbortSignal): Promise<number> {
    const late = performance.now() + READING_MS;
    for (const [, group] of Map.groupBy(folders, ({ hour }) => hour)) {
      const lists = group.map(async ({ prefix }) => ({
        prefix,
        objects: await Array.fromAsync(objectsOf(this.#bucket, prefix)),
      }));
      for (const { prefix, objects } of await Promise.all(lists)) {
        const work = this.#work.then(() => this.#load(prefix, objects, late, signal));
        this.#work = work.catch(() => {});
        if (!(await work)) return Math.max(from, startOf(group[0]?.hour ?? '') + HOUR_MS);
      }
    }
    return from;
  }

  /** @returns whether all of the folder is in the table */
  async #load(
    prefix: string,
    objects: readonly ListedObject[],
    late: number,
    signal: AbortSignal,
  ): Promise<boolean> {
    const database = this.#database;
    const loaded = this.#raw.get(prefix) ?? new Map<string, string>();
    this.#raw.delete(prefix);
    this.#raw.set(prefix, loaded);
    const missing = objects
      .filter(({ key, etag }) => key.endsWith('.ndjson') && loaded.get(key) !== etag)
      .sort(byStored);
    for (let first = 0; first < missing.length; first += LOAD) {
      if (first > 0 && performance.now() > late) return false;
      const some = missing.slice(first, first + LOAD);
      const path = join(database.folder, 'raw.ndjson');
      await writeFile(path, await linesOf(this.#bucket, some));
      await database.run(
        `INSERT INTO raw SELECT $folder AS folder, * FROM (${readLines(fileList([path]))})`,
        { folder: prefix },
        signal,
      );
      for (const { key, etag } of some) loaded.set(key, etag);
    }
    await this.#forget(database, prefix);
    return true;
  }

  async #forget(database: Database, kept: string): Promise<void> {
    let objects = [...this.#raw.values()].reduce((sum, one) => sum + one.size, 0);
    for (const [folder, one] of this.#raw) {
      if (objects <= MAX_OBJECTS || folder === kept) break;
      await database.run('DELETE FROM raw WHERE folder = $folder', { folder });
      this.#raw.delete(folder);
      objects -= one.size;
    }
  }
}

/** The objects under `prefix` of the hours in the range. */
export async function listHours(bucket: Pick<Reader, 'page'>, prefix: string, { from, to }: Range) {
  const last = `${prefix}${hourFolder(Math.min(to, MAX_TIME))}/~`;
  const found = [];
  for await (const object of objectsOf(bucket, prefix, `${prefix}${hourFolder(Math.max(0, from))}/`)) {
    if (object.key > last) break;
    found.push(object);
  }
  return found;
}

function isHeldWhole(held: ReadonlySet<string>, date: string, part: string, last: string): boolean {
  if (last.startsWith(date)) return false;
  return Array.from({ length: 24 }, (_, hour) => `${date}/hour=${String(hour).padStart(2, '0')}`).every(
    (hour) => held.has(manifestKey(hour, part)),
  );
}

/** @param hour `date=.../hour=..` @returns epoch ms */
function startOf(hour: string): number {
  const [, date, name] = /^date=(.+)\/hour=(\d\d)$/.exec(hour) ?? [];
  return Date.parse(`${date}T${name}:00:00Z`);
}

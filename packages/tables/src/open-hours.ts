import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { hourFolder, MAX_TIME } from '@video-pipeline/frame';
import {
  cached,
  type FolderReader,
  type ListedObject,
  objectsOf,
  type PageOptions,
  type Reader,
} from '@video-pipeline/storage';
import { byStored, HOURS, linesOf } from './compact.ts';
import { type Database, fileList } from './duckdb.ts';
import { EVENT_COLUMNS, HOUR_MS, LINE_COLUMNS, manifestKey, readEvents, readLines } from './schema.ts';

/** The bucket as a search needs it. */
export type SearchBucket = FolderReader;

/** Epoch ms, `from` included, `to` not. */
export interface Range {
  from: number;
  to: number;
}

/** What has not been read of the open hours by then is left for the next page. */
const READING_MS = 2_000;
/** Objects of open hours that are kept in memory; the oldest hours are let go. */
const MAX_OBJECTS = 50_000;
const LOAD = 512;
/** Pages of a thousand names that are remembered. */
const MAX_LISTINGS = 200;

/** What is read of objects, into which table of the database. */
const KINDS = {
  lines: { table: 'raw', columns: LINE_COLUMNS, read: readLines },
  events: { table: 'raw_events', columns: EVENT_COLUMNS, read: readEvents },
};
type Kind = (typeof KINDS)[keyof typeof KINDS];

/** Where days of objects lie, and the part that they are of. */
export interface Root {
  folder: string;
  part: string;
}

interface Folder {
  prefix: string;
  /** `date=.../hour=..` */
  hour: string;
}

/** What was stored since the tables were written, as a table of the database: each object is read once. */
export class OpenHours {
  readonly #bucket: SearchBucket;
  readonly #database: Database;
  readonly #kind: Kind;
  /** Objects in the table, by folder: key and ETag. */
  readonly #raw = new Map<string, Map<string, string>>();
  #work: Promise<unknown> = Promise.resolve();

  constructor(bucket: SearchBucket, database: Database, kind: Kind) {
    this.#kind = kind;
    this.#bucket = bucket;
    this.#database = database;
  }

  static async open(bucket: SearchBucket, database: Database, name: keyof typeof KINDS): Promise<OpenHours> {
    const kind = KINDS[name];
    await database.run(`CREATE TABLE ${kind.table} (folder VARCHAR, ${kind.columns})`);
    return new OpenHours(bucket, database, kind);
  }

  get isEmpty(): boolean {
    return [...this.#raw.values()].every((objects) => objects.size === 0);
  }

  /** Reads what the tables don't hold of these roots, the newest first, while there is time. @returns how far back it came */
  async read(roots: readonly Root[], range: Range, signal: AbortSignal): Promise<number> {
    const folders = await this.#openFolders(roots, this.#heldHours(range), range);
    return this.#read(folders, range.from, signal);
  }

  /** Hours and parts that the tables hold, as keys of manifests. */
  async #heldHours(query: Range): Promise<Set<string>> {
    const range = { from: query.from - HOUR_MS, to: query.to };
    return new Set((await listHours(this.#bucket, 'tables/manifests/', range)).map(({ key }) => key));
  }

  /** Folders of NDJSON that the tables don't hold, the newest first. A batch may begin in the hour before its last frame. */
  async #openFolders(
    roots: readonly Root[],
    holding: Promise<ReadonlySet<string>>,
    { from, to }: Range,
  ): Promise<Folder[]> {
    const [first, last] = [hourFolder(Math.max(0, from - HOUR_MS)), hourFolder(Math.min(to, MAX_TIME))];
    const perRoot = roots.map(async ({ folder, part }) => {
      const [dates, held] = await Promise.all([this.#bucket.folders(folder), holding]);
      const inRange = dates.filter(
        (date) => date >= first.slice(0, date.length) && date <= last.slice(0, date.length),
      );
      // A day of which the tables hold each hour has no open ones.
      const open = inRange.filter((date) => !isHeldWhole(held, date, part, last));
      const hours = open.map(async (date) => {
        const names = await this.#bucket.folders(`${folder}${date}/`);
        return names.map((name) => `${date}/${name}`);
      });
      return (await Promise.all(hours))
        .flat()
        .filter((hour) => hour >= first && hour <= last && !held.has(manifestKey(hour, part)))
        .map((hour) => ({ prefix: `${folder}${hour}/`, hour }));
    });
    return (await Promise.all(perRoot)).flat().sort((a, b) => (a.hour < b.hour ? 1 : -1));
  }

  /** Reads open hours into the table, the newest first, while there is time. @returns how far back it came */
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
    const { table, read } = this.#kind;
    const loaded = this.#raw.get(prefix) ?? new Map<string, string>();
    this.#raw.delete(prefix);
    this.#raw.set(prefix, loaded);
    const missing = objects
      .filter(({ key, etag }) => key.endsWith('json') && loaded.get(key) !== etag)
      .sort(byStored);
    for (let first = 0; first < missing.length; first += LOAD) {
      if (first > 0 && performance.now() > late) return false;
      const some = missing.slice(first, first + LOAD);
      const path = join(database.folder, `${table}.ndjson`);
      await writeFile(path, await linesOf(this.#bucket, some));
      await database.run(
        `INSERT INTO ${table} SELECT $folder AS folder, * FROM (${read(fileList([path]))})`,
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
      await database.run(`DELETE FROM ${this.#kind.table} WHERE folder = $folder`, { folder });
      this.#raw.delete(folder);
      objects -= one.size;
    }
  }
}

/** The same bucket, whose listings are asked for once in so long. */
export function remembering(bucket: SearchBucket, ms: number): SearchBucket {
  const folders = cached((prefix) => bucket.folders(prefix), ms, MAX_LISTINGS);
  const pages = cached(
    (name) => bucket.page(...(JSON.parse(name) as [string, PageOptions])),
    ms,
    MAX_LISTINGS,
  );
  return {
    folders,
    page: (prefix, options = {}) => pages(JSON.stringify([prefix, options])),
    read: (key, range) => bucket.read(key, range),
  };
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
  return HOURS.every((hour) => held.has(manifestKey(`${date}/${hour}`, part)));
}

/** @param hour `date=.../hour=..` @returns epoch ms */
function startOf(hour: string): number {
  const [, date, name] = /^date=(.+)\/hour=(\d\d)$/.exec(hour) ?? [];
  return Date.parse(`${date}T${name}:00:00Z`);
}

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { hourFolder, MAX_TIME } from '@video-pipeline/frame';
import {
  cached,
  type FolderReader,
  inParallel,
  type ListedObject,
  objectsOf,
  type PageOptions,
  type Reader,
} from '@video-pipeline/storage';
import { QueryError } from './cursor.ts';
import { type Database, fileList } from './duckdb.ts';
import { byStored, linesOf, loadsOf, sizeOf } from './lines.ts';
import {
  DAY_MS,
  EVENT_COLUMNS,
  type FrameTable,
  HOUR_MS,
  HOURS,
  LINE_COLUMNS,
  manifestKey,
  readEvents,
  readLines,
} from './schema.ts';

/** The bucket as a search needs it. */
export type SearchBucket = FolderReader;

/** Epoch ms, `from` included, `to` not. */
export interface Range {
  from: number;
  to: number;
}

/** Limits on reading open hours, which the tables don't hold yet. */
export interface Limits {
  /** Longest reading for a page, milliseconds. The rest is left to the next page. */
  readingMs: number;
  /** NDJSON whose rows are kept, bytes. The database spills to the disk what exceeds its memory. */
  keptBytes: number;
}
export const LIMITS: Limits = { readingMs: 2_000, keptBytes: 1024 ** 3 };

const LISTINGS = 16;
/** Most listings that are cached, each of up to a thousand names. */
const MAX_LISTINGS = 200;

/** Kinds of objects, with their columns and how they are read. */
const KINDS = {
  lines: { columns: LINE_COLUMNS, read: readLines },
  events: { columns: EVENT_COLUMNS, read: readEvents },
};

/** A folder of dates with objects, and the part to which they belong. */
export interface Root {
  folder: string;
  part: string;
}

interface Folder {
  prefix: string;
  /** `date=.../hour=..` */
  hour: string;
}

/** An open hour as a table of the database. */
interface OpenHour {
  table: string;
  /** Objects whose rows are in it: key and ETag. */
  objects: Map<string, string>;
  bytes: number;
  /** Queries that read it. While there are any, it is not dropped. */
  users: number;
}

/** The rows of open hours that a query reads. They are kept until this is disposed of. */
export interface OpenRows extends Disposable {
  /** Begin of the range that was read. */
  from: number;
  /** SQL of the rows; `undefined` when there are none. */
  sql: string | undefined;
}

interface Reading {
  /** Hours that the query reads, the oldest last. */
  hours: Set<OpenHour>;
  until: number;
  begun: boolean;
  signal: AbortSignal;
}

/** Objects that the tables don't hold yet, as a database table for each hour. Each object is read once. */
export class OpenHours {
  readonly #bucket: SearchBucket;
  readonly #database: Database;
  readonly #name: keyof typeof KINDS;
  readonly #limits: Limits;
  /** In the order of their last use, the last used at the end. */
  readonly #hours = new Map<string, OpenHour>();
  #tables = 0;
  #work: Promise<unknown> = Promise.resolve();

  constructor(bucket: SearchBucket, database: Database, name: keyof typeof KINDS, limits = LIMITS) {
    this.#bucket = bucket;
    this.#database = database;
    this.#name = name;
    this.#limits = limits;
  }

  /**
   * Reads what the tables don't hold of these roots, the newest hours first, within the limits of time and space.
   * @param whole the query needs the whole range
   * @throws QueryError when the space is too small for the whole, or even for the newest hours
   */
  async read(roots: readonly Root[], range: Range, signal: AbortSignal, whole = false): Promise<OpenRows> {
    const folders = await this.#openFolders(roots, this.#heldHours(range), range);
    const until = performance.now() + this.#limits.readingMs;
    const reading: Reading = { hours: new Set(), until, begun: false, signal };
    const release = () => {
      for (const hour of reading.hours) hour.users -= 1;
    };
    try {
      const from = await this.#readHours(folders, range, whole, reading);
      const tables = [...reading.hours].map(({ table }) => `FROM ${table}`);
      return {
        from,
        sql: tables.length > 0 ? `(${tables.join(' UNION ALL ')})` : undefined,
        [Symbol.dispose]: release,
      };
    } catch (error) {
      release();
      throw error;
    }
  }

  /** Hours and parts that the tables hold, by the keys of their manifests. */
  async #heldHours(query: Range): Promise<Set<string>> {
    const range = { from: query.from - HOUR_MS, to: query.to };
    return new Set((await listHours(this.#bucket, 'tables/manifests/', range)).map(({ key }) => key));
  }

  /** Folders of NDJSON not in the tables yet, the newest first. A batch may lie in the hour before its last frame. */
  async #openFolders(
    roots: readonly Root[],
    holding: Promise<ReadonlySet<string>>,
    { from, to }: Range,
  ): Promise<Folder[]> {
    const [first, last] = [hourFolder(Math.max(0, from - HOUR_MS)), lastHourOf({ to })];
    const perRoot = roots.map(async ({ folder, part }) => {
      const [dates, held] = await Promise.all([this.#bucket.folders(folder), holding]);
      const inRange = dates.filter(
        (date) => date >= first.slice(0, date.length) && date <= last.slice(0, date.length),
      );
      // A date of which the tables hold each hour is not listed.
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

  /** @returns the begin of the range that was read */
  async #readHours(
    folders: readonly Folder[],
    range: Range,
    whole: boolean,
    reading: Reading,
  ): Promise<number> {
    for (const [hour, group] of Map.groupBy(folders, (folder) => folder.hour)) {
      const lists = await inParallel(group, LISTINGS, ({ prefix }) =>
        Array.fromAsync(objectsOf(this.#bucket, prefix)),
      );
      const objects = lists.flat().filter(({ key }) => key.endsWith('json'));
      const work = this.#work.then(() => this.#load(hour, objects, reading));
      this.#work = work.catch(() => {});
      const end = await work;
      if (end === 'read') continue;
      // A batch that began in this hour may end in the next one.
      const from = Math.min(range.to, Math.max(range.from, startOf(hour) + 2 * HOUR_MS));
      if (end === 'no time' || (from < range.to && !whole) || this.#isAskedByOthers(reading)) return from;
      const most = `${Math.round(this.#limits.keptBytes / 1024 ** 2)} MiB`;
      throw new QueryError(
        `over ${most} are not in the tables yet of what was stored since ${new Date(startOf(hour)).toISOString()}: ` +
          'ask for fewer streams or a shorter time',
      );
    }
    return range.from;
  }

  #isAskedByOthers({ hours }: Reading): boolean {
    return [...this.#hours.values()].some((one) => one.users > (hours.has(one) ? 1 : 0));
  }

  /** Reads objects of an hour into its table. */
  async #load(
    name: string,
    objects: readonly ListedObject[],
    reading: Reading,
  ): Promise<'read' | 'no time' | 'no room'> {
    const database = this.#database;
    const { columns, read } = KINDS[this.#name];
    const known = this.#hours.get(name);
    const missing = objects.filter(({ key, etag }) => known?.objects.get(key) !== etag).sort(byStored);
    if (!known && missing.length === 0) return 'read';
    const hour = known ?? {
      table: `${this.#name}_${this.#tables++}`,
      objects: new Map(),
      bytes: 0,
      users: 0,
    };
    if (!known) await database.run(`CREATE TABLE ${hour.table} (${columns})`);
    this.#hours.delete(name);
    this.#hours.set(name, hour);
    hour.users += 1;
    reading.hours.add(hour);
    for (const portion of loadsOf(missing)) {
      if (reading.begun && performance.now() > reading.until) return 'no time';
      reading.begun = true;
      const bytes = sizeOf(portion);
      if (!(await this.#makeRoom(bytes))) return 'no room';
      const path = join(database.folder, `${this.#name}.ndjson`);
      await writeFile(path, await linesOf(this.#bucket, portion, reading.signal));
      await database.run(`INSERT INTO ${hour.table} ${read(fileList([path]))}`, {}, reading.signal);
      hour.bytes += bytes;
      for (const { key, etag } of portion) hour.objects.set(key, etag);
    }
    return 'read';
  }

  /** Drops hours that no query reads, the least recently used first. @returns whether there is space now */
  async #makeRoom(bytes: number): Promise<boolean> {
    let kept = [...this.#hours.values()].reduce((sum, one) => sum + one.bytes, bytes);
    for (const [name, { table, users, bytes }] of this.#hours) {
      if (kept <= this.#limits.keptBytes) return true;
      if (users > 0) continue;
      this.#hours.delete(name);
      await this.#database.run(`DROP TABLE ${table}`);
      kept -= bytes;
    }
    return kept <= this.#limits.keptBytes;
  }
}

/** The same bucket with its listings cached for `ms` milliseconds. */
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
    save: (key, path) => bucket.save(key, path),
  };
}

/** The objects under `prefix` that lie in hours of the range. */
export async function listHours(bucket: Pick<Reader, 'page'>, prefix: string, { from, to }: Range) {
  const last = `${prefix}${lastHourOf({ to })}/~`;
  const found = [];
  for await (const object of objectsOf(bucket, prefix, `${prefix}${hourFolder(Math.max(0, from))}/`)) {
    if (object.key > last) break;
    found.push(object);
  }
  return found;
}

/** A table's files for the range. A file holds the hours from its own until the next file of its part begins. */
export async function listFiles(
  bucket: Pick<Reader, 'page'>,
  table: FrameTable,
  { from, to }: Range,
): Promise<ListedObject[]> {
  const first = hourFolder(Math.max(0, from));
  const day = Math.max(0, from - (from % DAY_MS));
  const found: ListedObject[] = [];
  const begun = new Map<string, ListedObject>();
  for (const object of await listHours(bucket, `tables/${table}/`, { from: day, to })) {
    const [, , date = '', hour, part = ''] = object.key.split('/');
    if (`${date}/${hour}` > first) found.push(object);
    else begun.set(part, object);
  }
  return [...begun.values(), ...found];
}

/** @returns `date=.../hour=..` of the last time before `to` */
function lastHourOf({ to }: Pick<Range, 'to'>): string {
  return hourFolder(Math.min(Math.max(0, to - 1), MAX_TIME));
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

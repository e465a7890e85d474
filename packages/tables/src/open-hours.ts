import { HOUR_MS } from '@video-pipeline/frame';
import { type FolderReader, inTurn, type ListedObject } from '@video-pipeline/storage';
import { QueryError } from './cursor.ts';
import type { Database } from './duckdb.ts';
import { byStored, insertLines, KINDS, type Kind, loadsOf, sizeOf } from './lines.ts';
import { begun, type Folder, listNdjson, openFolders, type Range, type Root, startOf } from './listings.ts';

/** Limits on what a page reads. The rest is left to the next page. */
export interface Limits {
  /** Longest reading of open hours, which the tables don't hold yet, milliseconds. */
  readingMs: number;
  /** NDJSON whose rows are kept, bytes. The database spills to the disk if its memory is too small. */
  keptBytes: number;
  /** Most bytes that are read of the tables' files. As many are kept on the disk. */
  fileBytes: number;
  /** The end of a table's file that is read first, bytes. It has the classes, and the footer of a small file. */
  tailBytes: number;
  /** Longest time of a query, milliseconds. */
  deadlineMs: number;
}
export const LIMITS: Limits = {
  readingMs: 2_000,
  keptBytes: 1024 ** 3,
  fileBytes: 1024 ** 3,
  tailBytes: 32 * 1024,
  deadlineMs: 20_000,
};
export const NARROW_QUERY = 'ask for fewer streams or a shorter time';
const AHEAD = 3;

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
  readonly #bucket: FolderReader;
  readonly #database: Database;
  readonly #kind: Kind;
  readonly #limits: Limits;
  /** In the order of their last use, the last used at the end. */
  readonly #hours = new Map<string, OpenHour>();
  #tables = 0;
  /** One hour is loaded at a time. */
  readonly #next = inTurn();

  constructor(bucket: FolderReader, database: Database, kind: Kind, limits: Limits) {
    this.#bucket = bucket;
    this.#database = database;
    this.#kind = kind;
    this.#limits = limits;
  }

  /**
   * Reads the hours of these roots that the tables don't hold, the newest first, within the limits of time and space.
   * @param held keys of the manifests of the range
   * @param whole the query needs the whole range
   * @throws QueryError when the space is too small for the whole, or even for the newest hours
   */
  async read(
    roots: readonly Root[],
    range: Range,
    held: ReadonlySet<string>,
    signal: AbortSignal,
    whole = false,
  ): Promise<OpenRows> {
    const folders = await openFolders(this.#bucket, roots, held, range, signal);
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

  /** @returns the start of the range that was read */
  async #readHours(
    folders: readonly Folder[],
    range: Range,
    whole: boolean,
    reading: Reading,
  ): Promise<number> {
    const hours = [...Map.groupBy(folders, (folder) => folder.hour)];
    const lists: Promise<ListedObject[]>[] = [];
    for (const [index, [hour]] of hours.entries()) {
      // The next hours are listed while this one is read.
      for (const [, ahead] of hours.slice(lists.length, index + AHEAD)) {
        const prefixes = ahead.map(({ prefix }) => prefix);
        lists.push(begun(listNdjson(this.#bucket, prefixes, reading.signal)));
      }
      const objects = (await lists[index]) ?? [];
      const end = await this.#next(() => this.#load(hour, objects, reading));
      if (end === 'read') continue;
      const from = Math.min(range.to, startOf(hour) + HOUR_MS);
      if (end === 'no time' || (from < range.to && !whole) || this.#isAskedByOthers(reading)) return from;
      const limit = `${Math.round(this.#limits.keptBytes / 1024 ** 2)} MiB`;
      throw new QueryError(
        `over ${limit} of NDJSON since ${new Date(startOf(hour)).toISOString()} are not in the tables yet: ${NARROW_QUERY}`,
      );
    }
    return range.from;
  }

  #isAskedByOthers({ hours }: Reading): boolean {
    return [...this.#hours.values()].some((one) => one.users > (hours.has(one) ? 1 : 0));
  }

  async #load(
    name: string,
    objects: readonly ListedObject[],
    reading: Reading,
  ): Promise<'read' | 'no time' | 'no room'> {
    const database = this.#database;
    const known = this.#hours.get(name);
    const missing = objects.filter(({ key, etag }) => known?.objects.get(key) !== etag).sort(byStored);
    if (!known && missing.length === 0) return 'read';
    const table = known?.table ?? `${this.#kind}_${this.#tables++}`;
    const hour = known ?? { table, objects: new Map(), bytes: 0, users: 0 };
    if (!known) await database.run(`CREATE TABLE ${hour.table} (${KINDS[this.#kind].columns})`);
    this.#hours.delete(name);
    this.#hours.set(name, hour);
    hour.users += 1;
    reading.hours.add(hour);
    for (const portion of loadsOf(missing)) {
      if (reading.begun && performance.now() > reading.until) return 'no time';
      reading.begun = true;
      const bytes = sizeOf(portion);
      if (!(await this.#makeRoom(bytes))) return 'no room';
      const into = { table: hour.table, kind: this.#kind, objects: portion };
      await insertLines(this.#bucket, database, into, reading.signal);
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

import { constants, existsSync } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type ByteRange,
  cached,
  ifThere,
  inParallel,
  inTurn,
  type ListedObject,
  type Reader,
} from '@video-pipeline/storage';
import { type Database, fileList } from './duckdb.ts';
import { mayContain, type RowGroup } from './footer.ts';
import { damaged, type Footer, NEAR_TAILS, orDamaged, readFooter } from './object-footer.ts';

/** Objects that a query reads at the same time. */
const OBJECTS = 8;
/** Parts of objects that all queries together read at the same time. Each is held in memory. */
const READS = 16;
/** Most bytes of one read, unless a part is larger. */
const READ_BYTES = 2 * 1024 * 1024;
/** Footers that are kept in memory, bytes, and how long. */
const FOOTERS = { bytes: 64 * 1024 * 1024, ttlMs: 3_600_000 };
/** Filters that are kept in memory, bytes. */
const FILTER_BYTES = 64 * 1024 * 1024;

/** What a query reads from a table. */
export interface Wanted {
  columns: readonly string[];
  /** Whether a row group may have rows of the answer. */
  mayMatch: (group: RowGroup) => boolean;
  /** By the name of a column: only rows with one of these values. */
  values?: Readonly<Record<string, readonly string[]>> | undefined;
}

/** The files that a query reads. They are kept until this is disposed of. */
export interface Files extends Disposable {
  /** Row groups of an object with rows that may be wanted. */
  groups(object: ListedObject, wanted: Wanted, signal?: AbortSignal): Promise<readonly RowGroup[]>;
  /** Paths of Parquet files with the columns of the objects' rows that may be wanted, without objects that are gone. */
  paths(objects: readonly ListedObject[], wanted: Wanted, signal: AbortSignal): Promise<string[]>;
  /** @throws the database's error, or one that names the object of an unreadable copy: it is copied again next time */
  blame(error: unknown, database: Database, signal: AbortSignal): Promise<never>;
}

/** A row group as a file. */
interface Kept {
  key: string;
  path: string;
  /** Columns that are in it. The others are holes. */
  columns: Set<string>;
  bytes: number;
}

/**
 * Parts of Parquet objects as files on the disk: of each row group only the columns that queries read. They are read
 * once for each version of the object. The least recently used are removed when they take too much space.
 */
export class FileCache {
  readonly #folder: string;
  readonly #maxBytes: number;
  readonly #tailBytes: number;
  /** In the order of their last use, the last used at the end. */
  readonly #kept = new Map<string, Kept>();
  /** The files of each running query. */
  readonly #used = new Set<ReadonlySet<Kept>>();
  readonly #footer: (name: string) => Promise<Footer>;
  /** By the object's version and the filter's offset. */
  readonly #filters = new Map<string, Buffer>();
  #filterBytes = 0;
  /** Each lane runs one read at a time. */
  readonly #lanes = Array.from({ length: READS }, inTurn);
  #reads = 0;
  #count = 0;
  #bytes = 0;

  /** @param maxBytes most bytes kept on the disk @param tailBytes bytes at the end of an object that are read first */
  constructor(bucket: Pick<Reader, 'read'>, folder: string, maxBytes: number, tailBytes: number) {
    this.#folder = folder;
    this.#maxBytes = maxBytes;
    this.#tailBytes = tailBytes;
    const load = (name: string) => readFooter(bucket, JSON.parse(name), tailBytes);
    this.#footer = cached(load, FOOTERS.ttlMs, FOOTERS.bytes, ({ bytes }) => bytes);
  }

  /** Begins the use of files by one query. */
  use(): Files {
    const used = new Set<Kept>();
    this.#used.add(used);
    return {
      groups: async (object, wanted, signal) => {
        const footer = await this.#footerOf(object);
        return footer ? this.#groups(object, footer, wanted, signal) : [];
      },
      paths: async (objects, wanted, signal) => {
        const paths = await inParallel(objects, OBJECTS, async (object) => {
          signal.throwIfAborted();
          const footer = await this.#footerOf(object);
          if (!footer) return [];
          const groups = await this.#groups(object, footer, wanted, signal);
          // Two queries that want the same columns read them once.
          const copies = { groups, columns: wanted.columns, used };
          return footer.inTurn(() => this.#copy(object, footer, copies, signal));
        });
        await this.#makeRoom();
        return paths.flat();
      },
      blame: async (error, database, signal) => {
        for (const [name, kept] of this.#kept) {
          if (!used.has(kept) || signal.aborted) continue;
          const each = ['count(*)', ...[...kept.columns].map((column) => `max(hash("${column}"))`)];
          const read = database.run(`SELECT ${each} FROM read_parquet(${fileList([kept.path])})`, signal);
          await read.catch(() => {
            signal.throwIfAborted();
            // The file takes space until no query uses it, and it is removed.
            this.#kept.delete(name);
            this.#kept.set(kept.path, kept);
            // If the machine has deleted its temporary files, the object is not damaged.
            throw existsSync(kept.path) ? damaged(kept.key, error) : error;
          });
        }
        throw error;
      },
      [Symbol.dispose]: () => this.#used.delete(used),
    };
  }

  #footerOf(object: ListedObject): Promise<Footer | undefined> {
    return ifThere(this.#footer(JSON.stringify(object)));
  }

  /** @returns row groups with rows that may be wanted */
  async #groups(
    object: ListedObject,
    footer: Footer,
    { mayMatch, values = {} }: Wanted,
    signal: AbortSignal | undefined,
  ): Promise<RowGroup[]> {
    const { classes } = footer;
    if (classes && values.class_name && !values.class_name.some((name) => classes.has(name))) return [];
    let groups = (await footer.groups()).filter(mayMatch);
    for (const [column, of] of Object.entries(values)) {
      const nameOf = (range?: ByteRange) => `${object.etag} ${object.key} ${range?.offset}`;
      const ranges = groups.flatMap((group) => group.filters.get(column) ?? []);
      const missing = ranges.filter((range) => !this.#filters.has(nameOf(range)));
      await this.#each(footer, missing, signal, (some, cut) => {
        for (const range of some) this.#keepFilter(nameOf(range), cut(range));
      });
      groups = groups.filter((group) => {
        const filter = this.#filters.get(nameOf(group.filters.get(column)));
        return !filter || orDamaged(object.key, () => mayContain(filter, of));
      });
    }
    return groups;
  }

  /** Dropping a filter that is needed only costs time: its row group is read. */
  #keepFilter(name: string, bytes: Buffer): void {
    if (this.#filterBytes > FILTER_BYTES) {
      this.#filters.clear();
      this.#filterBytes = 0;
    }
    // A copy, so that the other bytes of the read can be freed.
    this.#filters.set(name, Buffer.from(bytes));
    this.#filterBytes += bytes.length;
  }

  /** Reads ranges of an object. Close ranges are read at once. `cut` returns a part of the bytes that were read. */
  async #each<Range extends ByteRange>(
    { read }: Footer,
    ranges: readonly Range[],
    signal: AbortSignal | undefined,
    take: (some: readonly Range[], cut: (range: ByteRange) => Buffer) => unknown,
  ): Promise<void> {
    const parts = together(ranges, NEAR_TAILS * this.#tailBytes);
    const work = async ({ of, ...part }: (typeof parts)[number]) => {
      signal?.throwIfAborted();
      const bytes = await read(part);
      const cut = ({ offset, length }: ByteRange) =>
        bytes.subarray(offset - part.offset, offset - part.offset + length);
      await take(of, cut);
    };
    await inParallel(parts, READS, (part) => {
      const next = this.#lanes[this.#reads++ % READS] as ReturnType<typeof inTurn>;
      return next(() => work(part));
    });
  }

  /** Makes files of row groups, with the missing columns. From now on, the query uses them. @returns their paths */
  async #copy(
    object: ListedObject,
    footer: Footer,
    { groups, columns, used }: { groups: readonly RowGroup[]; columns: readonly string[]; used: Set<Kept> },
    signal: AbortSignal,
  ): Promise<string[]> {
    const all: Kept[] = [];
    const missing: (ByteRange & { kept: Kept })[] = [];
    for (const group of groups) {
      signal.throwIfAborted();
      const name = `${object.etag} ${object.key} ${group.index}`;
      const path = join(this.#folder, `rows-${this.#count++}.parquet`);
      const kept: Kept = this.#kept.get(name) ?? { key: object.key, path, columns: new Set(), bytes: 0 };
      used.add(kept);
      this.#kept.delete(name);
      this.#kept.set(name, kept);
      all.push(kept);
      if (kept.bytes === 0) await this.#write(kept, group.footer(), footer.offset);
      const lacking = columns.filter((column) => !kept.columns.has(column));
      const chunks = lacking.flatMap((column) => group.chunks.get(column) ?? []);
      missing.push(...chunks.map((range) => ({ ...range, kept })));
    }
    await this.#each(footer, missing, signal, async (some, cut) => {
      for (const [kept, of] of Map.groupBy(some, (range) => range.kept)) {
        // The bytes between two columns are written, too.
        const [first, last] = [of[0], of.at(-1)] as [ByteRange, ByteRange];
        const length = last.offset + last.length - first.offset;
        await this.#write(kept, cut({ offset: first.offset, length }), first.offset);
      }
    });
    for (const kept of all) for (const column of columns) kept.columns.add(column);
    return all.map(({ path }) => path);
  }

  async #write(kept: Kept, bytes: Buffer, at: number): Promise<void> {
    await using file = await open(kept.path, constants.O_CREAT | constants.O_WRONLY);
    // A full disk may take only a part, without an error.
    for (let done = 0; done < bytes.length; )
      done += (await file.write(bytes, done, bytes.length - done, at + done)).bytesWritten;
    kept.bytes += bytes.length;
    this.#bytes += bytes.length;
  }

  async #makeRoom(): Promise<void> {
    for (const [name, kept] of this.#kept) {
      if (this.#bytes <= this.#maxBytes) return;
      if ([...this.#used].some((used) => used.has(kept))) continue;
      this.#kept.delete(name);
      this.#bytes -= kept.bytes;
      await rm(kept.path, { force: true });
    }
  }
}

/** Joins ranges that are read at once, in the order of their offsets. */
function together<Range extends ByteRange>(
  ranges: readonly Range[],
  gap: number,
): (ByteRange & { of: Range[] })[] {
  const parts: (ByteRange & { of: Range[] })[] = [];
  for (const range of ranges.toSorted((a, b) => a.offset - b.offset)) {
    const last = parts.at(-1);
    const length = range.offset + range.length - (last?.offset ?? 0);
    if (last && range.offset - (last.offset + last.length) <= gap && length <= READ_BYTES) {
      last.of.push(range);
      last.length = Math.max(last.length, length);
    } else parts.push({ offset: range.offset, length: range.length, of: [range] });
  }
  return parts;
}

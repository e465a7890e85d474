import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type ByteRange,
  cached,
  ifThere,
  inParallel,
  type ListedObject,
  type Reader,
} from '@video-pipeline/storage';
import { endOf, mayHold, type RowGroup } from './footer.ts';
import { type Footer, NEAR_TAILS, readFooter, whole } from './object-footer.ts';

/** Objects, and parts of each, that are read at the same time. */
const READS = { objects: 8, parts: 4 };
/** Most bytes of one read, unless a part is larger. */
const READ_BYTES = 2 * 1024 * 1024;
/** Footers that are kept in memory, bytes, and how long. */
const FOOTERS = { bytes: 32 * 1024 * 1024, ttlMs: 3_600_000 };
/** What a query needs of a table. */
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
  groups(object: ListedObject, wanted: Wanted): Promise<readonly RowGroup[]>;
  /** Paths of Parquet files with the columns of the objects' rows that may be wanted. Objects that are gone are left out. */
  paths(objects: readonly ListedObject[], wanted: Wanted, signal: AbortSignal): Promise<string[]>;
}

/** A row group as a file. */
interface Kept {
  path: string;
  group: RowGroup;
  /** Columns that are in it. The others are holes. */
  columns: Set<string>;
  bytes: number;
}

/**
 * Parts of Parquet objects as files on the disk: of each row group only the columns that were asked for. They are read once
 * for each version of the object. The least recently used are removed when they take too much space.
 */
export class FileCache {
  readonly #folder: string;
  readonly #maxBytes: number;
  readonly #tailBytes: number;
  /** In the order of their last use, the last used at the end. */
  readonly #kept = new Map<string, Kept>();
  /** What each query uses that runs. */
  readonly #used = new Set<ReadonlySet<Kept>>();
  /** Of each object the work that ends last. */
  readonly #turns = new Map<string, Promise<unknown>>();
  readonly #footer: (name: string) => Promise<Footer>;
  #count = 0;
  #bytes = 0;

  /** @param maxBytes most bytes that are kept on the disk @param tailBytes bytes at the end of an object that are read first */
  constructor(bucket: Pick<Reader, 'read'>, folder: string, maxBytes: number, tailBytes: number) {
    this.#folder = folder;
    this.#maxBytes = maxBytes;
    this.#tailBytes = tailBytes;
    const load = (name: string) => readFooter(bucket, JSON.parse(name), tailBytes);
    this.#footer = cached(load, FOOTERS.ttlMs, FOOTERS.bytes, ({ bytes }) => bytes);
  }

  /** For one query. */
  use(): Files {
    const used = new Set<Kept>();
    this.#used.add(used);
    return {
      groups: async (object, wanted) => {
        const footer = await this.#footerOf(object);
        return footer ? this.#groups(object, footer, wanted) : [];
      },
      paths: async (objects, wanted, signal) => {
        const paths = await inParallel(objects, READS.objects, async (object) => {
          signal.throwIfAborted();
          const footer = await this.#footerOf(object);
          if (!footer) return [];
          const groups = await this.#groups(object, footer, wanted);
          return this.#inTurn(object.key, async () => {
            const all = await this.#keptOf(object, groups, used);
            await this.#fill(footer, all, wanted.columns, signal);
            return all.map(({ path }) => path);
          });
        });
        await this.#makeRoom();
        return paths.flat();
      },
      [Symbol.dispose]: () => this.#used.delete(used),
    };
  }

  #footerOf(object: ListedObject): Promise<Footer | undefined> {
    return ifThere(this.#footer(JSON.stringify(object)));
  }

  /** @returns row groups with rows that may be wanted */
  async #groups(object: ListedObject, footer: Footer, { mayMatch, values = {} }: Wanted) {
    const { classes, filters } = footer;
    if (classes && values.class_name && !values.class_name.some((name) => classes.has(name))) return [];
    let groups = (await footer.groups()).filter(mayMatch);
    for (const [column, of] of Object.entries(values)) {
      const ranges = groups.flatMap((group) => group.filters.get(column) ?? []);
      await this.#each(
        footer,
        ranges.filter((range) => !filters.has(range)),
        (of, { offset }, bytes) => {
          for (const range of of)
            filters.set(range, bytes.subarray(range.offset - offset, range.offset - offset + range.length));
        },
      );
      groups = groups.filter((group) => {
        const filter = filters.get(group.filters.get(column) as ByteRange);
        return !filter || whole(object.key, () => mayHold(filter, of));
      });
    }
    return groups;
  }

  /** Reads ranges of an object. Those that lie close together are read at once. */
  async #each<Range extends ByteRange>(
    { read }: Footer,
    ranges: readonly Range[],
    take: (of: readonly Range[], part: ByteRange, bytes: Buffer) => unknown,
    signal?: AbortSignal,
  ): Promise<void> {
    const parts = together(ranges, NEAR_TAILS * this.#tailBytes);
    await inParallel(parts, READS.parts, async ({ of, ...part }) => {
      signal?.throwIfAborted();
      await take(of, part, await read(part));
    });
  }

  /** Work on an object waits for the work before. */
  async #inTurn<Result>(key: string, work: () => Promise<Result>): Promise<Result> {
    const done = (this.#turns.get(key) ?? Promise.resolve()).then(work);
    const turn = done.catch(() => {});
    this.#turns.set(key, turn);
    try {
      return await done;
    } finally {
      if (this.#turns.get(key) === turn) this.#turns.delete(key);
    }
  }

  /** Row groups of an object as files, which the query uses from now on. */
  async #keptOf(object: ListedObject, groups: readonly RowGroup[], used: Set<Kept>): Promise<Kept[]> {
    const all: Kept[] = [];
    for (const group of groups) {
      const name = `${object.etag} ${object.key} ${group.index}`;
      const kept = this.#kept.get(name) ?? (await this.#create(group));
      used.add(kept);
      this.#kept.delete(name);
      this.#kept.set(name, kept);
      all.push(kept);
    }
    return all;
  }

  /** Reads the columns that the files lack. */
  async #fill(
    footer: Footer,
    all: readonly Kept[],
    columns: readonly string[],
    signal: AbortSignal,
  ): Promise<void> {
    const lacking = (kept: Kept) => columns.filter((column) => !kept.columns.has(column));
    const ranges = all.flatMap((kept) =>
      lacking(kept)
        .flatMap((column) => kept.group.chunks.get(column) ?? [])
        .map((range) => ({ ...range, kept })),
    );
    await this.#each(
      footer,
      ranges,
      async (of, { offset }, bytes) => {
        for (const [kept, some] of Map.groupBy(of, (range) => range.kept)) {
          // What lies between two columns is written with them.
          const [first, last] = [some[0], some.at(-1)] as [ByteRange, ByteRange];
          const rows = bytes.subarray(first.offset - offset, last.offset + last.length - offset);
          await using file = await open(kept.path, 'r+');
          await file.write(rows, 0, rows.length, first.offset - kept.group.shift);
          kept.bytes += rows.length;
          this.#bytes += rows.length;
        }
      },
      signal,
    );
    for (const kept of all) for (const column of columns) kept.columns.add(column);
  }

  async #create(group: RowGroup): Promise<Kept> {
    const path = join(this.#folder, `rows-${this.#count++}.parquet`);
    const footer = group.footer();
    await using file = await open(path, 'wx');
    await file.write(footer, 0, footer.length, endOf(group) - group.shift);
    this.#bytes += footer.length;
    return { path, group, columns: new Set(), bytes: footer.length };
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

/** Ranges in the order in which they lie, with those that are read at once. */
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

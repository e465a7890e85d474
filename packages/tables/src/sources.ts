import type { FolderReader, ListedObject } from '@video-pipeline/storage';
import { QueryError } from './cursor.ts';
import type { Database } from './duckdb.ts';
import type { FileCache, Wanted } from './file-cache.ts';
import { fittingFrom, mayContainStream, timesOf } from './fitting.ts';
import { begun, listFiles, type Range, rootOf, spansOf } from './listings.ts';
import { type Limits, NARROW_QUERY, type OpenHours } from './open-hours.ts';
import { FRAME_COLUMNS, type FrameTable, partOf } from './schema.ts';
import { type Query, type RowSet, type Rows, storedRows, withRaw } from './sql.ts';

export interface Engine {
  database: Database;
  files: FileCache;
  openHours: OpenHours;
  openEvents: OpenHours;
}

/** What a query reads. */
export interface Sources {
  database: Database;
  /** Ends the query's statements. */
  signal: AbortSignal;
  rows: Rows;
  /** Start of the range that was read. */
  from: number;
  /** Bytes that the query reads from the tables' files. */
  bytes: number;
  /** @throws the error of a statement, or one that names the damaged object */
  blame: (error: unknown) => Promise<never>;
}

interface SourcesQuery {
  bucket: FolderReader;
  /** Keys of the manifests of the range. */
  held: ReadonlySet<string>;
  /** The streams of the query, or all streams. */
  streams: readonly string[];
  query: Query;
  /** The rows that the query reads in its whole range. */
  sets: readonly RowSet[];
  /** The query needs its whole range. */
  whole: boolean | undefined;
  limits: Limits;
}

/** Lists and chooses what a query reads, the newest first. @throws QueryError if it needs its whole range: too much */
export async function openSources(
  { database, files: cache, openHours }: Omit<Engine, 'openEvents'>,
  { bucket, held, streams, query, sets, whole, limits }: SourcesQuery,
  signal: AbortSignal,
): Promise<Sources & Disposable> {
  const roots = streams.map(rootOf);
  const selected = query.streams?.length ? query.streams : undefined;
  // The files are listed after the manifests, which the compactor writes last. So none of a named hour is missing.
  const list = async (table: FrameTable) => ofStreams(await listFiles(bucket, table, query), selected);
  const lists = begun(Promise.all([list('frames'), list('detections')]));
  using stack = new DisposableStack();
  const files = stack.use(cache.use());
  const open = stack.use(await openHours.read(roots, query, held, signal, whole));
  const [frames, detections] = await lists;
  const objects = { frames, detections };
  const wantedOf = (set: RowSet, { from, to }: Range): Wanted => ({
    ...set,
    mayMatch(group) {
      const times = timesOf(group);
      const isNear = times.from < to && times.to > from;
      const isSelected = !selected || selected.some((stream) => mayContainStream(group, stream));
      return isNear && isSelected && set.mayMatch?.(group) !== false;
    },
  });
  const { fileBytes } = limits;
  const tables = sets.map((set) => ({ objects: objects[set.table], wanted: wantedOf(set, query) }));
  const fitting = await fittingFrom(files, tables, query, fileBytes, signal);
  if (whole && fitting.from > query.from)
    throw new QueryError(
      `the tables hold over ${Math.round(fileBytes / 1024 ** 2)} MiB of it: ${NARROW_QUERY}`,
    );
  const from = Math.max(open.from, fitting.from);
  const stored = async (set: RowSet) => {
    const { range: part = { from, to: query.to } } = set;
    const range = { from: Math.max(from, part.from), to: Math.min(part.to, query.to) };
    const spans = spansOf(ofStreams(objects[set.table], set.streams), range).map(({ object }) => object);
    return storedRows(set.table, await files.paths(spans, wantedOf(set, range), signal), set.columns);
  };
  const times = 'min(line.captured_at) AS first, max(line.captured_at) AS last';
  const [raw] = open.sql ? await database.run(`SELECT ${times} FROM ${open.sql}`, signal) : [];
  const rawRange = { from: Number(raw?.first), to: Number(raw?.last) + 1 };
  /** Stored frames of the time of the raw lines, which the rows of either table are compared with. */
  let ids: Promise<string> | undefined;
  const read = stack.move();
  return {
    database,
    signal,
    from,
    bytes: fitting.bytes,
    blame: (error) => files.blame(error, database, signal),
    async rows(set) {
      const { sql } = open;
      if (!sql) return stored(set);
      const known = { ...set, columns: [...new Set([...FRAME_COLUMNS, ...set.columns])] };
      const rest = await stored(known);
      ids ??= stored({ table: 'frames', columns: [...FRAME_COLUMNS, 'stored_at'], range: rawRange });
      return withRaw(known, rest, await ids, sql);
    },
    [Symbol.dispose]: () => read.dispose(),
  };
}

/** The files of the parts to which these streams belong. Left out: all. */
function ofStreams(objects: ListedObject[], streams: readonly string[] | undefined): ListedObject[] {
  const parts = streams && new Set(streams.map(partOf));
  return objects.filter(({ key }) => !parts || parts.has(key.at(-'.parquet'.length - 1) ?? ''));
}

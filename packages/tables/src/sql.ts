import type { Cursor } from './cursor.ts';
import { fileList } from './duckdb.ts';
import type { Wanted } from './file-cache.ts';
import type { Range } from './listings.ts';
import {
  COLUMNS,
  FRAME_COLUMNS,
  FRAME_ID,
  type FrameTable,
  newestOf,
  ROWS_OF,
  sameFrame,
  type TableName,
} from './schema.ts';

/** Filter of frames; times in epoch ms, `from` included, `to` not. */
export interface Query {
  /** Any of these streams. Left out or empty: all. */
  streams?: readonly string[] | undefined;
  /** Frames that show any of these. */
  classes?: readonly string[] | undefined;
  track?: string | undefined;
  zone?: string | undefined;
  /** Only the frame of each track that shows it with the highest confidence. */
  perTrack?: boolean | undefined;
  /** 0..1; with 0, no class and no track, frames without detections are found too. */
  confidence: number;
  from: number;
  to: number;
  limit: number;
  cursor?: string | undefined;
}

/** Rows of a table that a statement reads. */
export interface RowSet {
  table: FrameTable;
  columns: readonly string[];
  /** Only rows with one of these values, by the name of a column. */
  values?: Wanted['values'];
  /** Only rows of this time. Left out: of the whole range of the query. */
  range?: Range;
  /** Only rows of these streams. Left out: of those of the query. */
  streams?: readonly string[];
  /** Only row groups that may have such rows. */
  mayMatch?: Wanted['mayMatch'];
}
/** SQL of the rows, with these columns alone. */
export type Rows = (set: RowSet) => Promise<string>;

const listOf = (columns: Iterable<string>) => [...columns].map((name) => `"${name}"`).join(', ');

/** SQL of a table's rows in these files. */
export function storedRows(
  table: TableName,
  paths: readonly string[],
  columns: readonly string[] = Object.keys(COLUMNS[table]),
): string {
  // A file that is older than a column lacks that column.
  const typed = Object.entries(COLUMNS[table]).map(([name, type]) => `NULL::${type} AS "${name}"`);
  const none = `SELECT ${typed.join(', ')} WHERE false`;
  if (paths.length === 0) return `SELECT ${listOf(columns)} FROM (${none})`;
  return `SELECT ${listOf(columns)} FROM (FROM read_parquet(${fileList(paths)}, union_by_name = true) UNION ALL BY NAME ${none})`;
}

/**
 * SQL of the rows `stored` of a table and of the lines `raw`, which were read after its files were written. If both have
 * a frame, the one that was stored last counts.
 * @param frames SQL of the ids of stored frames, and of when they were stored
 */
export function withRaw({ table, columns }: RowSet, stored: string, frames: string, raw: string): string {
  return `WITH read AS (${newestOf(`(FROM ${raw} WHERE ${inRange('line.captured_at')})`)}),
    fresh AS (FROM read WHERE NOT EXISTS (FROM (${frames}) AS old
      WHERE ${sameFrame('read')} AND old.stored_at > read.stored_at))
    SELECT ${listOf(columns)} FROM (${ROWS_OF[table]('fresh')} UNION ALL BY NAME SELECT * FROM (${stored}) AS old
    WHERE ${IN_RANGE} AND NOT EXISTS (FROM fresh WHERE ${sameFrame('fresh')}))`;
}

/** SQL of the condition that a time is in the range of a query. */
export function inRange(time: string): string {
  return `${time} >= $from::BIGINT AND ${time} < $to::BIGINT`;
}
export const IN_RANGE = inRange('captured_at');
export const NEWEST_FIRST = 'captured_at DESC, stream_id, frame_number DESC';
const AFTER_CURSOR = `($cursor_at IS NULL OR captured_at < $cursor_at::BIGINT OR (captured_at = $cursor_at::BIGINT
  AND (stream_id > $cursor_stream OR (stream_id = $cursor_stream AND frame_number < $cursor_number::BIGINT))))`;

/** SQL of the condition that a column has one of these values, named `$<name>0` and so on. Without values, any. */
export function oneOf(column: string, name: string, values: readonly string[] = []): string {
  if (values.length === 0) return 'true';
  return `${column} IN (${values.map((_, index) => `$${name}${index}`).join(', ')})`;
}

export function named(name: string, values: readonly string[] = []): Record<string, string> {
  return Object.fromEntries(values.map((value, index) => [`${name}${index}`, value]));
}

function isOfAnything({ classes, track, zone, perTrack, confidence }: Query): boolean {
  return !classes?.length && track === undefined && zone === undefined && !perTrack && confidence === 0;
}

/** What is read to find the frames of a query. */
export function hitsRows(query: Query): RowSet {
  if (isOfAnything(query)) return { table: 'frames', columns: FRAME_COLUMNS };
  const { classes = [], track, zone, perTrack, confidence } = query;
  const also = {
    class_name: classes.length > 0,
    confidence: confidence > 0 || perTrack,
    track_id: track !== undefined || perTrack,
    zones: zone !== undefined,
  };
  const columns = Object.entries(also).flatMap(([name, isUsed]) => (isUsed ? [name] : []));
  return {
    table: 'detections',
    columns: [...FRAME_COLUMNS, ...columns],
    values: {
      ...(classes.length > 0 && { class_name: classes }),
      ...(track !== undefined && { track_id: [track] }),
    },
  };
}

/** SQL of the detections that match a query. */
function shownOf({ streams, classes, track, zone, confidence }: Query, rows: string): string {
  return `FROM (${rows}) WHERE ${IN_RANGE} AND ${oneOf('stream_id', 'stream', streams)}
    AND ${confidence > 0 ? 'confidence >= $confidence' : 'true'} AND ${oneOf('class_name', 'class', classes)}
    AND ${track === undefined ? 'true' : 'track_id = $track'}
    AND ${zone === undefined ? 'true' : 'list_contains(zones, $zone)'}`;
}

/** SQL of each track's frame with the highest confidence, the first of several. Without a track, each frame counts. */
const oneATrack = (shown: string) => `SELECT DISTINCT stream_id, best.captured_at, best.frame_number FROM (
  SELECT stream_id, min({rank: -confidence, captured_at: captured_at, frame_number: frame_number}) AS best
  ${shown} GROUP BY stream_id, coalesce(track_id, captured_at || ' ' || frame_number))`;

/** SQL of the ids of the frames that a query finds. */
export async function hitsOf(query: Query, rows: Rows): Promise<string> {
  const read = await rows(hitsRows(query));
  if (isOfAnything(query))
    return `SELECT ${FRAME_ID} FROM (${read}) WHERE ${IN_RANGE} AND ${oneOf('stream_id', 'stream', query.streams)}`;
  const shown = shownOf(query, read);
  return query.perTrack ? oneATrack(shown) : `SELECT DISTINCT ${FRAME_ID} ${shown}`;
}

/** SQL of a page of these frames, and of how many there are in all, if that is `counted`. */
export function pageOf(query: Query, hits: string, counted: boolean): string {
  // Without a filter, frames are counted by the files' metadata. With one, all are found before they are sorted.
  return `WITH found AS ${isOfAnything(query) ? 'NOT ' : ''}MATERIALIZED (${hits})
    SELECT *${counted ? ', (SELECT count(*) FROM found) AS total' : ''} FROM (FROM found WHERE ${AFTER_CURSOR}
      ORDER BY ${NEWEST_FIRST} LIMIT ${Math.trunc(query.limit) + 1}) ORDER BY ${NEWEST_FIRST}`;
}

export function valuesOf(query: Query, from: number, to: number, cursor?: Cursor) {
  return {
    from: String(from),
    to: String(to),
    ...named('stream', query.streams),
    ...named('class', query.classes),
    track: query.track ?? null,
    zone: query.zone ?? null,
    confidence: query.confidence,
    cursor_at: cursor ? String(cursor.captured_at) : null,
    cursor_stream: cursor?.stream_id ?? null,
    cursor_number: cursor?.frame_number === undefined ? null : String(cursor.frame_number),
  };
}

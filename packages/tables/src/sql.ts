import type { Cursor } from './cursor.ts';
import { fileList } from './duckdb.ts';
import {
  COLUMNS,
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

/** SQL of a table's rows in these files. */
export function storedRows(table: TableName, paths: readonly string[]): string {
  // A file that is older than a column lacks that column.
  const columns = Object.entries(COLUMNS[table]).map(([name, type]) => `NULL::${type} AS "${name}"`);
  const none = `SELECT ${columns.join(', ')} WHERE false`;
  if (paths.length === 0) return none;
  return `SELECT * FROM read_parquet(${fileList(paths)}, union_by_name = true) UNION ALL BY NAME ${none}`;
}

/**
 * SQL of a table's rows in these files and of the lines `raw`, which were read after the files were written. If both
 * have a frame, the one that was stored last counts.
 */
export function withRaw(
  table: FrameTable,
  paths: readonly string[],
  frames: readonly string[],
  raw: string,
): string {
  return `WITH read AS (${newestOf(`(FROM ${raw} WHERE ${inRange('line.captured_at')})`)}),
    fresh AS (FROM read WHERE NOT EXISTS (FROM (${storedRows('frames', frames)}) AS old
      WHERE ${sameFrame('read')} AND old.stored_at > read.stored_at))
    ${ROWS_OF[table]('fresh')} UNION ALL BY NAME SELECT * FROM (${storedRows(table, paths)}) AS old
    WHERE ${IN_RANGE} AND NOT EXISTS (FROM fresh WHERE ${sameFrame('fresh')})`;
}

/** SQL of the condition that a time lies in the range of a query. */
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

/** SQL of the detections that match a query. */
async function shownOf(
  { streams, classes, track, zone, confidence }: Query,
  rows: (table: FrameTable) => Promise<string>,
): Promise<string> {
  return `FROM (${await rows('detections')}) WHERE ${IN_RANGE} AND ${oneOf('stream_id', 'stream', streams)}
    AND ${confidence > 0 ? 'confidence >= $confidence' : 'true'} AND ${oneOf('class_name', 'class', classes)}
    AND ${track === undefined ? 'true' : 'track_id = $track'}
    AND ${zone === undefined ? 'true' : 'list_contains(zones, $zone)'}`;
}

/** SQL of the frame that shows each track with the highest confidence, the first of such. Without a track, each frame counts. */
const oneATrack = (shown: string) => `SELECT DISTINCT stream_id, best.captured_at, best.frame_number FROM (
  SELECT stream_id, min({rank: -confidence, captured_at: captured_at, frame_number: frame_number}) AS best
  ${shown} GROUP BY stream_id, coalesce(track_id, captured_at || ' ' || frame_number))`;

/** SQL of the ids of the frames that a query finds. */
export async function hitsOf(query: Query, rows: (table: FrameTable) => Promise<string>): Promise<string> {
  if (isOfAnything(query))
    return `SELECT ${FRAME_ID} FROM (${await rows('frames')}) WHERE ${IN_RANGE} AND ${oneOf('stream_id', 'stream', query.streams)}`;
  const shown = await shownOf(query, rows);
  return query.perTrack ? oneATrack(shown) : `SELECT DISTINCT ${FRAME_ID} ${shown}`;
}

/** SQL of a page of these frames, and of how many there are in all, if that is `counted`. */
export function pageOf(query: Query, hits: string, counted: boolean): string {
  // Frames of anything are counted by what each file says of itself; others were all found before they are sorted.
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

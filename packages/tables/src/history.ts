import { FRAME_COLUMNS } from './schema.ts';
import type { Sources } from './sources.ts';
import { hitsOf, IN_RANGE, oneOf, type Query, type RowSet, valuesOf } from './sql.ts';

/** Counts over time, by name: of detections by class, or of frames by stream. */
export type Counts = { bin: number; name: string; count: number }[];

/** A time without stored frames of a stream, between two of its frames; epoch ms. */
export interface Gap {
  stream_id: string;
  from: number;
  to: number;
  /** Frames that ingest numbered in this time, and that are not stored. */
  missing: number;
  restarted: boolean;
}

/** Most gaps of an answer. */
const MAX_GAPS = 500;
const BIN = '(captured_at - $from::BIGINT) // $bin::BIGINT AS bin';

type Binned = Query & { binMs: number };

const binned = (query: Binned) => ({ ...valuesOf(query, query.from, query.to), bin: String(query.binMs) });
const whereOf = ({ streams }: Query) => `${IN_RANGE} AND ${oneOf('stream_id', 'stream', streams)}`;

/** The rows that are read to count, and to find gaps. */
export const COUNTED: RowSet = { table: 'detections', columns: ['stream_id', 'captured_at', 'class_name'] };
export const COUNTED_FRAMES: RowSet = { table: 'frames', columns: ['stream_id', 'captured_at'] };
const GAPS: RowSet = { table: 'frames', columns: [...FRAME_COLUMNS, 'session'] };

/** How many rows of a table there are in each bin, by the name in one of its columns. */
export async function countBy(
  column: string,
  set: RowSet,
  { database, rows, signal }: Sources,
  query: Binned,
): Promise<Counts> {
  const found = await database.run(
    `SELECT ${BIN}, ${column} AS name, count(*) AS count FROM (${await rows(set)})
     WHERE ${whereOf(query)} GROUP BY ALL ORDER BY ALL`,
    signal,
    binned(query),
  );
  return found.map((row) => ({ bin: Number(row.bin), name: String(row.name), count: Number(row.count) }));
}

/** Number of frames that a search finds in each bin. */
export async function hitCounts({ database, rows, signal }: Sources, query: Binned): Promise<number[]> {
  const sql = `SELECT ${BIN}, count(*) AS count FROM (${await hitsOf(query, rows)}) GROUP BY ALL`;
  const found = await database.run(sql, signal, binned(query));
  const counts = new Array<number>(Math.ceil((query.to - query.from) / query.binMs)).fill(0);
  for (const { bin, count } of found) counts[Number(bin)] = Number(count);
  return counts;
}

/** @param longerMs only longer gaps are returned */
export async function gapsOf(
  { database, rows, signal }: Sources,
  query: Query,
  longerMs: number,
): Promise<Gap[]> {
  const found = await database.run(
    `SELECT * FROM (
       SELECT stream_id, lag(captured_at) OVER w AS since, captured_at AS until,
         frame_number - lag(frame_number) OVER w - 1 AS missing, "session" <> lag("session") OVER w AS restarted
       FROM (${await rows(GAPS)}) WHERE ${whereOf(query)}
       WINDOW w AS (PARTITION BY stream_id ORDER BY captured_at, frame_number))
     WHERE until - since > $longer::BIGINT ORDER BY since LIMIT ${MAX_GAPS}`,
    signal,
    { ...valuesOf(query, query.from, query.to), longer: String(longerMs) },
  );
  return found.map(({ stream_id, since, until, missing, restarted }) => ({
    stream_id: String(stream_id),
    from: Number(since),
    to: Number(until),
    missing: restarted ? 0 : Math.max(0, Number(missing)),
    restarted: restarted === true,
  }));
}

import type { Database } from './duckdb.ts';
import type { FrameTable } from './schema.ts';
import { hitsOf, IN_RANGE, oneOf, type Query, valuesOf } from './sql.ts';

/** What a question reads. */
export interface Sources {
  database: Database;
  /** SQL of the table's rows in the range. */
  rows: (table: FrameTable) => Promise<string>;
  /** What is covered begins here. */
  from: number;
}

/** Detections by class over time. */
export type Counts = { bin: number; class_name: string; count: number }[];
/** Stored frames by stream over time. */
export type FrameCounts = { bin: number; stream_id: string; frames: number }[];

/** A time without stored frames of a stream, between two frames; epoch ms. */
export interface Gap {
  stream_id: string;
  from: number;
  to: number;
  /** Frames that ingest numbered in it, and that are not stored. */
  missing: number;
  /** Whether ingest began anew in it. */
  restarted: boolean;
}

/** Most gaps that are told of. */
const MAX_GAPS = 500;
const BIN = '(captured_at - $from::BIGINT) // $bin::BIGINT AS bin';

/** A range in bins of equal length. */
export type Binned = Query & { binMs: number };

const binned = (query: Binned) => ({
  ...valuesOf(query, query.from, query.to),
  bin: String(query.binMs),
});
const whereOf = ({ streams }: Query) => `${IN_RANGE} AND ${oneOf('stream_id', 'stream', streams)}`;

export async function countsOf(
  { database, rows }: Sources,
  query: Binned,
  signal: AbortSignal,
): Promise<Counts> {
  const found = await database.run(
    `SELECT ${BIN}, class_name, count(*) AS count FROM (${await rows('detections')})
     WHERE ${whereOf(query)} GROUP BY ALL ORDER BY ALL`,
    binned(query),
    signal,
  );
  return found.map(({ bin, class_name, count }) => ({
    bin: Number(bin),
    class_name: String(class_name),
    count: Number(count),
  }));
}

export async function framesOf(
  { database, rows }: Sources,
  query: Binned,
  signal: AbortSignal,
): Promise<FrameCounts> {
  const found = await database.run(
    `SELECT ${BIN}, stream_id, count(*) AS frames FROM (${await rows('frames')})
     WHERE ${whereOf(query)} GROUP BY ALL ORDER BY ALL`,
    binned(query),
    signal,
  );
  return found.map(({ bin, stream_id, frames }) => ({
    bin: Number(bin),
    stream_id: String(stream_id),
    frames: Number(frames),
  }));
}

/** Frames that a search finds, over time. */
export async function hitCounts(sources: Sources, query: Binned, signal: AbortSignal): Promise<number[]> {
  const found = await sources.database.run(
    `SELECT ${BIN}, count(*) AS count FROM (${await hitsOf(query, sources.rows)}) GROUP BY ALL`,
    binned(query),
    signal,
  );
  const counts = new Array<number>(Math.ceil((query.to - query.from) / query.binMs)).fill(0);
  for (const { bin, count } of found) counts[Number(bin)] = Number(count);
  return counts;
}

/** @param longerMs than this are told of */
export async function gapsOf(
  { database, rows }: Sources,
  query: Query,
  longerMs: number,
  signal: AbortSignal,
): Promise<Gap[]> {
  const found = await database.run(
    `SELECT * FROM (
       SELECT stream_id, lag(captured_at) OVER w AS since, captured_at AS until,
         frame_number - lag(frame_number) OVER w - 1 AS missing, "session" <> lag("session") OVER w AS restarted
       FROM (${await rows('frames')}) WHERE ${whereOf(query)}
       WINDOW w AS (PARTITION BY stream_id ORDER BY captured_at, frame_number))
     WHERE until - since > $longer::BIGINT ORDER BY since LIMIT ${MAX_GAPS}`,
    { ...valuesOf(query, query.from, query.to), longer: String(longerMs) },
    signal,
  );
  return found.map(({ stream_id, since, until, missing, restarted }) => ({
    stream_id: String(stream_id),
    from: Number(since),
    to: Number(until),
    missing: restarted ? 0 : Math.max(0, Number(missing)),
    restarted: restarted === true,
  }));
}

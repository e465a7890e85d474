import type { Detection } from '@video-pipeline/frame';
import { type Cursor, decodeCursor, encodeCursor } from './cursor.ts';
import { type Database, openDatabase, type Row } from './duckdb.ts';
import { FileCache } from './file-cache.ts';
import { listHours, OpenHours, type SearchBucket } from './open-hours.ts';
import { partOf, type TableName } from './schema.ts';
import {
  AFTER_CURSOR,
  hitsOf,
  IN_RANGE,
  NEWEST_FIRST,
  type Query,
  storedRows,
  valuesOf,
  withRaw,
} from './sql.ts';

export type { Query, SearchBucket };

/** What is known of a stored frame. */
export interface FoundFrame {
  stream_id: string;
  session: string;
  frame_number: number;
  captured_at: number;
  width: number;
  height: number;
  model: string;
  annotated_key: string;
  /** Where the picture lies, with `STORE=archive`. */
  archive?: { key: string; offset: number; length: number };
  detections: Detection[];
}

export interface Page {
  /** The newest first. */
  frames: FoundFrame[];
  /** Present when there is more. */
  cursor?: string;
  /** All that match in the range, on the first page, if all of it was read. */
  total?: number;
  /** How far back it was looked. */
  searched_to: number;
}

/** Detections by class over time. */
export type Counts = { bin: number; class_name: string; count: number }[];

/** A question that can't be asked. */
export class QueryError extends Error {
  override readonly name = 'QueryError';
}

/** A question is given up after so long. */
const DEADLINE_MS = 20_000;

interface Engine {
  database: Database;
  files: FileCache;
  openHours: OpenHours;
}

/** What a question reads. */
interface Sources {
  database: Database;
  /** SQL of the table's rows in the range. */
  rows: (table: TableName) => Promise<string>;
  /** What is covered begins here. */
  from: number;
}

/**
 * Answers questions about what was stored: from the tables for the hours that they hold, and from NDJSON for those since
 * then. Nothing that is asked becomes part of a statement's text.
 */
export class Tables {
  readonly #bucket: SearchBucket;
  #engine: Promise<Engine> | undefined;

  constructor(bucket: SearchBucket) {
    this.#bucket = bucket;
  }

  /** Every stream that has detections in the bucket. */
  streams(): Promise<string[]> {
    return this.#bucket.folders('detections/');
  }

  /** @throws QueryError; TimeoutError after 20 s, or whatever `signal` is aborted with */
  async search(query: Query, signal?: AbortSignal): Promise<Page> {
    const cursor = query.cursor === undefined ? undefined : decodeCursor(query.cursor);
    if (query.cursor !== undefined && !cursor) throw new QueryError('cursor is not one that a search gave');
    const until = bounded(signal);
    const to = cursor ? Math.min(query.to, cursor.captured_at + 1) : query.to;
    const { database, rows, from } = await this.#sources({ ...query, to }, until);
    const hits = await hitsOf(query, rows);
    const keys = await database.run(
      `SELECT * FROM (${hits}) WHERE ${AFTER_CURSOR} ORDER BY ${NEWEST_FIRST} LIMIT ${Math.trunc(query.limit) + 1}`,
      valuesOf(query, from, to, cursor),
      until,
    );
    const more = keys.length > query.limit;
    const complete = from <= query.from;
    const frames = await this.#details(database, keys.slice(0, query.limit), rows, until);
    const last = frames.at(-1);
    const next: Cursor | undefined = more && last ? last : complete ? undefined : { captured_at: from };
    const page = { frames, searched_to: more && last ? last.captured_at : from };
    if (next) Object.assign(page, { cursor: encodeCursor(next) });
    if (cursor || !complete) return page;
    if (!more) return { ...page, total: frames.length };
    const [counted] = await database.run(
      `SELECT count(*) AS n FROM (${hits})`,
      valuesOf(query, from, to),
      until,
    );
    return { ...page, total: Number(counted?.n) };
  }

  /** Detections of a stream by class, in bins of equal length from `from` on; whether all of the range was read. */
  async counts(
    stream: string,
    { from, to, binMs }: { from: number; to: number; binMs: number },
    signal?: AbortSignal,
  ): Promise<{ counts: Counts; complete: boolean }> {
    const until = bounded(signal);
    const query: Query = { streams: [stream], confidence: 0, from, to, limit: 0 };
    const sources = await this.#sources(query, until);
    const rows = await sources.database.run(
      `SELECT (captured_at - $from::BIGINT) // $bin::BIGINT AS bin, class_name, count(*) AS count
       FROM (${await sources.rows('detections')}) WHERE ${IN_RANGE} AND stream_id = $stream0 GROUP BY ALL ORDER BY ALL`,
      { ...valuesOf(query, from, to), bin: String(binMs) },
      until,
    );
    const counts = rows.map(({ bin, class_name, count }) => ({
      bin: Number(bin),
      class_name: String(class_name),
      count: Number(count),
    }));
    return { counts, complete: sources.from <= from };
  }

  /** Loads what a question needs, so that the first one doesn't wait for it. */
  async warm(): Promise<void> {
    await this.#open();
  }

  async close(): Promise<void> {
    await (await this.#engine)?.database.close();
  }

  #open(): Promise<Engine> {
    this.#engine ??= openDatabase().then(async (database) => ({
      database,
      files: new FileCache(this.#bucket, database.folder),
      openHours: await OpenHours.open(this.#bucket, database),
    }));
    this.#engine.catch(() => {
      this.#engine = undefined;
    });
    return this.#engine;
  }

  async #sources(query: Query, signal: AbortSignal): Promise<Sources> {
    const { database, files, openHours } = await this.#open();
    const asked = query.streams?.length ? query.streams : undefined;
    const from = await openHours.read(asked ?? (await this.streams()), query, signal);
    const parts = asked && new Set(asked.map(partOf));
    const fetched = new Map<TableName, Promise<string[]>>();
    const pathsOf = (table: TableName): Promise<string[]> => {
      const isWanted = ({ key }: { key: string }) =>
        !parts || parts.has(key.at(-'.parquet'.length - 1) ?? '');
      const fetch = async () =>
        files.paths((await listHours(this.#bucket, `tables/${table}/`, query)).filter(isWanted), signal);
      const paths = fetched.get(table) ?? fetch();
      fetched.set(table, paths);
      return paths;
    };
    return {
      database,
      from,
      async rows(table) {
        const paths = await pathsOf(table);
        return openHours.isEmpty ? storedRows(table, paths) : withRaw(table, paths, await pathsOf('frames'));
      },
    };
  }

  async #details(
    database: Database,
    keys: readonly Row[],
    rows: Sources['rows'],
    signal: AbortSignal,
  ): Promise<FoundFrame[]> {
    if (keys.length === 0) return [];
    const ids = keys.map((key) => ({
      stream_id: String(key.stream_id),
      captured_at: Number(key.captured_at),
      frame_number: Number(key.frame_number),
    }));
    const times = ids.map(({ captured_at }) => captured_at);
    const values = {
      from: String(Math.min(...times)),
      to: String(Math.max(...times) + 1),
      ids: JSON.stringify(ids),
    };
    const shown = async (table: TableName) => `SELECT t.* FROM (${await rows(table)}) t
      SEMI JOIN (SELECT unnest(from_json($ids, '${ID_TYPE}'), recursive := true)) USING (stream_id, captured_at, frame_number)
      WHERE captured_at >= $from::BIGINT AND captured_at < $to::BIGINT`;
    const [frames, detections] = await Promise.all([
      database.run(await shown('frames'), values, signal),
      database.run(`${await shown('detections')} ORDER BY position`, values, signal),
    ]);
    const byFrame = Map.groupBy(detections, idOf);
    const found = new Map(frames.map((row) => [idOf(row), row]));
    return ids.flatMap((id) => {
      const row = found.get(idOf(id));
      return row ? [frameOf(row, byFrame.get(idOf(id)) ?? [])] : [];
    });
  }
}

/** Ids of frames, as JSON text that is bound. */
const ID_TYPE = '[{"stream_id":"VARCHAR","captured_at":"BIGINT","frame_number":"BIGINT"}]';

function bounded(signal: AbortSignal | undefined): AbortSignal {
  const late = AbortSignal.timeout(DEADLINE_MS);
  return signal ? AbortSignal.any([signal, late]) : late;
}

function idOf({ stream_id, captured_at, frame_number }: Row): string {
  return `${stream_id} ${captured_at} ${frame_number}`;
}

function frameOf(row: Row, detections: readonly Row[]): FoundFrame {
  return {
    stream_id: String(row.stream_id),
    session: String(row.session),
    frame_number: Number(row.frame_number),
    captured_at: Number(row.captured_at),
    width: Number(row.width),
    height: Number(row.height),
    model: String(row.model),
    annotated_key: String(row.annotated_key),
    ...(row.archive_key === null
      ? {}
      : {
          archive: {
            key: String(row.archive_key),
            offset: Number(row.archive_offset),
            length: Number(row.archive_length),
          },
        }),
    detections: detections.map(({ class_id, class_name, confidence, x1, y1, x2, y2, track_id }) => ({
      class_id: Number(class_id),
      class_name: String(class_name),
      confidence: Number(confidence),
      bbox: [Number(x1), Number(y1), Number(x2), Number(y2)],
      ...(track_id === null ? {} : { track_id: String(track_id) }),
    })),
  };
}

import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { DAY_MS } from '@video-pipeline/frame';
import type { FolderReader } from '@video-pipeline/storage';
import { type Cursor, cursorOf, encodeCursor, endOf, QueryError } from './cursor.ts';
import { type Database, openDatabase } from './duckdb.ts';
import { type EventPage, type EventQuery, eventsOf } from './events.ts';
import { FileCache } from './file-cache.ts';
import { detailsOf, type FoundFrame } from './found-frame.ts';
import { type Counts, countBy, type Gap, gapsOf, hitCounts, type Sources } from './history.ts';
import {
  begun,
  EVENT_ROOT,
  filesOf,
  fittingFrom,
  KEPT,
  listFiles,
  listHeld,
  listHours,
  type Range,
  remembering,
  rootOf,
} from './listings.ts';
import { ASK_LESS, LIMITS, OpenHours } from './open-hours.ts';
import { COLUMNS, FRAME_ID, type FrameTable, ORDER } from './schema.ts';
import { hitsOf, NEWEST_FIRST, pageOf, type Query, storedRows, valuesOf, withRaw } from './sql.ts';

interface Page {
  /** The newest first. */
  frames: FoundFrame[];
  /** Present when there is more. */
  cursor?: string;
  /** Number of all matches in the range. Only on the first page, and only if the whole range was read. */
  total?: number;
  /** Begin of the range that was searched, epoch ms. */
  searched_to: number;
}

/** A range in bins of equal length. */
type Bins = Range & { binMs: number };

interface Engine {
  database: Database;
  files: FileCache;
  openHours: OpenHours;
  openEvents: OpenHours;
}

/**
 * Answers queries about what is stored: from the tables for the hours that they hold, from NDJSON for later hours.
 * Names and times of a query are bound as parameters. Only `limit`, as a whole number, becomes part of a statement's
 * text.
 */
export class Tables {
  readonly #bucket: FolderReader;
  /** The same bucket with listings that are kept. */
  readonly #kept: Record<'manifests' | 'streams' | 'open', FolderReader>;
  readonly #limits: typeof LIMITS;
  #engine: Promise<Engine> | undefined;

  constructor(bucket: FolderReader, kept = KEPT, limits = LIMITS) {
    this.#bucket = bucket;
    this.#kept = {
      manifests: remembering(bucket, kept.manifestsMs),
      streams: remembering(bucket, kept.streamsMs),
      open: remembering(bucket, kept.openMs),
    };
    this.#limits = limits;
  }

  /** Every stream that has detections in the bucket. */
  streams(): Promise<string[]> {
    return this.#kept.streams.folders('detections/');
  }

  /** @throws QueryError, also after the longest time of a query; or whatever `signal` is aborted with */
  async search(query: Query, signal?: AbortSignal): Promise<Page> {
    const cursor = cursorOf(query);
    const until = this.#bounded(signal);
    // The best frame of a track can only be chosen from the whole range.
    const to = query.perTrack ? query.to : endOf(query, cursor);
    using sources = await this.#sources({ ...query, to }, until, query.perTrack);
    const { database, rows, from } = sources;
    const complete = from <= query.from;
    if (query.perTrack && !complete) {
      const again = query.cursor ?? encodeCursor({ captured_at: query.to });
      return { frames: [], searched_to: from, cursor: again };
    }
    const counted = !cursor && complete;
    const keys = await database.run(
      pageOf(query, await hitsOf(query, rows), counted),
      valuesOf(query, from, to, cursor),
      until,
    );
    const more = keys.length > query.limit;
    const frames = await detailsOf(sources, keys.slice(0, query.limit), until);
    const last = frames.at(-1);
    const next: Cursor | undefined = more && last ? last : complete ? undefined : { captured_at: from };
    return {
      frames,
      searched_to: more && last ? last.captured_at : from,
      ...(next && { cursor: encodeCursor(next) }),
      ...(counted && { total: Number(keys[0]?.total ?? 0) }),
    };
  }

  /** Detections by class, in bins of equal length from `from` on; whether the whole range was read. No streams: all. */
  async counts(
    streams: readonly string[],
    range: Bins,
    signal?: AbortSignal,
  ): Promise<{ counts: Counts; complete: boolean }> {
    const until = this.#bounded(signal);
    const query = { streams, confidence: 0, limit: 0, ...range };
    using sources = await this.#sources(query, until);
    const counts = await countBy('class_name', 'detections', sources, query, until);
    return { counts, complete: sources.from <= range.from };
  }

  /** Number of frames that a search finds in each bin, all bins of equal length. */
  async histogram(query: Query, binMs: number, signal?: AbortSignal): Promise<number[]> {
    const until = this.#bounded(signal);
    using sources = await this.#whole(query, until);
    return await hitCounts(sources, { ...query, binMs }, until);
  }

  /** What is stored over time. No streams: all. @param longerMs only longer gaps are returned, for one stream only */
  async history(
    streams: readonly string[],
    range: Bins,
    longerMs: number,
    signal?: AbortSignal,
  ): Promise<{ counts: Counts; frames: Counts; gaps: Gap[]; complete: boolean }> {
    const until = this.#bounded(signal);
    const query = { streams, confidence: 0, limit: 0, ...range };
    using sources = await this.#sources(query, until);
    return {
      counts: await countBy('class_name', 'detections', sources, query, until),
      frames: await countBy('stream_id', 'frames', sources, query, until),
      gaps: streams.length === 1 ? await gapsOf(sources, query, longerMs, until) : [],
      complete: sources.from <= range.from,
    };
  }

  /** The result of a search as a Parquet file with the detections' columns. @returns its path; the caller removes it */
  async parquet(query: Query, signal?: AbortSignal): Promise<string> {
    const until = this.#bounded(signal);
    using sources = await this.#whole(query, until);
    const { database, rows, from } = sources;
    const hits = `SELECT * FROM (${await hitsOf(query, rows)}) ORDER BY ${NEWEST_FIRST} LIMIT ${Math.trunc(query.limit)}`;
    const path = join(database.folder, `export-${randomUUID()}.parquet`);
    const columns = Object.keys(COLUMNS.detections).join(', ');
    await database.run(
      `COPY (SELECT ${columns} FROM (${await rows('detections')}) SEMI JOIN (${hits})
         USING (${FRAME_ID}) ORDER BY ${ORDER.detections})
       TO '${path.replaceAll("'", "''")}' (FORMAT parquet, PARQUET_VERSION v2, COMPRESSION zstd)`,
      valuesOf(query, from, query.to),
      until,
    );
    return path;
  }

  /** @throws QueryError, also after the longest time of a query; or whatever `signal` is aborted with */
  async events(query: EventQuery, signal?: AbortSignal): Promise<EventPage> {
    const cursor = cursorOf(query);
    const until = this.#bounded(signal);
    // This query covers only what the page before left.
    const range = cursor?.stream_id === undefined ? { ...query, to: endOf(query, cursor) } : query;
    const [engine, held] = await Promise.all([this.#open(), listHeld(this.#kept.manifests, range)]);
    const { database, openEvents } = engine;
    // One file holds a day.
    const days = { from: query.from - (query.from % DAY_MS), to: query.to + DAY_MS };
    const listed = begun(listHours(this.#bucket, 'tables/events/', days));
    using files = engine.files.use();
    using open = await openEvents.read([EVENT_ROOT], range, held, until);
    const { from } = open;
    const paths = await files.paths(await listed, until);
    const { events, total } = await eventsOf(database, range, { paths, open, cursor }, until);
    const shown = events.slice(0, query.limit);
    const last = events.length > query.limit ? shown.at(-1) : undefined;
    const unread = from <= query.from ? undefined : { captured_at: from };
    const next = last ? { captured_at: last.at, stream_id: last.event_id, frame_number: 0 } : unread;
    return { events: shown, total, ...(next && { cursor: encodeCursor(next) }) };
  }

  /** Loads the database, so that the first query doesn't wait for it. */
  async warm(): Promise<void> {
    await this.#open();
  }

  async close(): Promise<void> {
    await (await this.#engine)?.database.close();
  }

  #open(): Promise<Engine> {
    this.#engine ??= openDatabase({ eachFileIsNew: true }).then((database) => ({
      database,
      files: new FileCache(this.#bucket, database.folder, this.#limits.fileBytes),
      openHours: new OpenHours(this.#kept.open, database, 'lines', this.#limits),
      openEvents: new OpenHours(this.#kept.open, database, 'events', this.#limits),
    }));
    this.#engine.catch(() => {
      this.#engine = undefined;
    });
    return this.#engine;
  }

  /** The sources of the whole range: each round reads on where the one before stopped. */
  async #whole(query: Query, signal: AbortSignal): Promise<Sources> {
    for (;;) {
      const sources = await this.#sources(query, signal, true);
      if (sources.from <= query.from) return sources;
      sources[Symbol.dispose]();
    }
  }

  async #sources(query: Query, signal: AbortSignal, whole = false): Promise<Sources> {
    const asked = query.streams?.length ? query.streams : undefined;
    const [engine, held, streams] = await Promise.all([
      this.#open(),
      listHeld(this.#kept.manifests, query),
      asked ?? this.streams(),
    ]);
    const roots = streams.map(rootOf);
    const parts = asked && new Set(roots.map(({ part }) => part));
    const isWanted = ({ key }: { key: string }) => !parts || parts.has(key.at(-'.parquet'.length - 1) ?? '');
    // The files are listed after the manifests, which the compactor writes last. So none of a named hour is missing.
    const list = async (table: FrameTable) => (await listFiles(this.#bucket, table, query)).filter(isWanted);
    const lists = begun(Promise.all([list('frames'), list('detections')]));
    using stack = new DisposableStack();
    const files = stack.use(engine.files.use());
    const open = stack.use(await engine.openHours.read(roots, query, held, signal, whole));
    const [frames, detections] = await lists;
    const { fileBytes } = this.#limits;
    const fitting = fittingFrom([frames, detections], query, fileBytes);
    if (whole && fitting > query.from)
      throw new QueryError(
        `the tables hold over ${Math.round(fileBytes / 1024 ** 2)} MiB of it: ${ASK_LESS}`,
      );
    const from = Math.max(open.from, fitting);
    const pathsOf = (table: FrameTable, range: Range) =>
      files.paths(filesOf({ frames, detections }[table], range), signal);
    const sources = {
      database: engine.database,
      from,
      async rows(table: FrameTable, range: Range = { from, to: query.to }) {
        if (!open.sql) return storedRows(table, await pathsOf(table, range));
        const [paths, frames] = await Promise.all([pathsOf(table, range), pathsOf('frames', range)]);
        return withRaw(table, paths, frames, open.sql);
      },
    };
    const read = stack.move();
    return { ...sources, [Symbol.dispose]: () => read.dispose() };
  }

  /** Ends a query that takes too long. Files that it has read stay, so that the next one needs less time. */
  #bounded(signal: AbortSignal | undefined): AbortSignal {
    const { deadlineMs } = this.#limits;
    const late = new AbortController();
    const reason = new QueryError(`no answer within ${deadlineMs / 1_000} s: ${ASK_LESS}`);
    setTimeout(() => late.abort(reason), deadlineMs).unref();
    return signal ? AbortSignal.any([signal, late.signal]) : late.signal;
  }
}

import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { DAY_MS } from '@video-pipeline/frame';
import {
  type FolderReader,
  isChanged,
  isMissing,
  objectsOfHours,
  semaphoreOf,
} from '@video-pipeline/storage';
import { type Cursor, cursorOf, encodeCursor, endOf, QueryError } from './cursor.ts';
import { openDatabase } from './duckdb.ts';
import { type EventPage, type EventQuery, eventsOf } from './events.ts';
import { FileCache } from './file-cache.ts';
import { detailsOf, type FoundFrame } from './found-frame.ts';
import { COUNTED, COUNTED_FRAMES, type Counts, countBy, type Gap, gapsOf, hitCounts } from './history.ts';
import { begun, cachedListings, EVENT_ROOT, KEPT, listCompacted, type Range } from './listings.ts';
import { LIMITS, NARROW_QUERY, OpenHours } from './open-hours.ts';
import { COLUMNS, FRAME_ID, ORDER } from './schema.ts';
import { type Engine, openSources, type Sources } from './sources.ts';
import { hitsOf, hitsRows, NEWEST_FIRST, pageOf, type Query, type RowSet, valuesOf } from './sql.ts';

interface Page {
  /** The newest first. */
  frames: FoundFrame[];
  /** Present when there is more. */
  cursor?: string;
  /** Number of all matches in the range. Only on the first page, and only if the whole range was read. */
  total?: number;
  /** Start of the range that was searched, epoch ms. */
  searched_to: number;
}

/** A range in bins of equal length. */
type Bins = Range & { binMs: number };

/**
 * Answers queries about what is stored: from the tables for the hours that they hold, from NDJSON for later hours.
 * Names and times of a query are bound as parameters. Only `limit`, as a whole number, becomes part of a statement's
 * text.
 * @example
 * const { frames } = await new Tables(createReader()).search({ streams: ['gate'], confidence: 0.5, from, to, limit: 10 });
 */
export class Tables {
  readonly #bucket: FolderReader;
  /** The same bucket with cached listings. */
  readonly #kept: Record<'manifests' | 'streams' | 'open', FolderReader>;
  readonly #limits: typeof LIMITS;
  /** Limits the file bytes of all running searches together: these stay on the disk until the searches are answered. */
  readonly #semaphore: ReturnType<typeof semaphoreOf>;
  #engine: Promise<Engine> | undefined;

  constructor(bucket: FolderReader, kept = KEPT, limits = LIMITS) {
    this.#bucket = bucket;
    this.#kept = {
      manifests: cachedListings(bucket, kept.manifestsMs),
      streams: cachedListings(bucket, kept.streamsMs),
      open: cachedListings(bucket, kept.openMs),
    };
    this.#limits = limits;
    this.#semaphore = semaphoreOf(TOGETHER * limits.fileBytes);
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
    const bounded = { ...query, to };
    return this.#withSources(bounded, [hitsRows(query)], until, query.perTrack, async (sources) => {
      const { database, rows, from } = sources;
      const complete = from <= query.from;
      if (query.perTrack && !complete) {
        const start = query.cursor ?? encodeCursor({ captured_at: query.to });
        return { frames: [], searched_to: from, cursor: start };
      }
      const counted = !cursor && complete;
      const sql = pageOf(query, await hitsOf(query, rows), counted);
      const keys = await database.run(sql, until, valuesOf(query, from, to, cursor));
      const more = keys.length > query.limit;
      const frames = await detailsOf(sources, keys.slice(0, query.limit));
      const last = frames.at(-1);
      const next: Cursor | undefined = more && last ? last : complete ? undefined : { captured_at: from };
      return {
        frames,
        searched_to: more && last ? last.captured_at : from,
        ...(next && { cursor: encodeCursor(next) }),
        ...(counted && { total: Number(keys[0]?.total ?? 0) }),
      };
    });
  }

  /** Detections by class, in bins of equal length from `from` on; whether the whole range was read. No streams: all. */
  async counts(streams: readonly string[], range: Bins): Promise<{ counts: Counts; complete: boolean }> {
    const query = { streams, confidence: 0, limit: 0, ...range };
    return this.#withSources(query, [COUNTED], this.#bounded(), false, async (sources) => ({
      counts: await countBy('class_name', COUNTED, sources, query),
      complete: sources.from <= range.from,
    }));
  }

  /** Number of frames that a search finds in each bin, all bins of equal length. */
  async histogram(query: Query, binMs: number, signal?: AbortSignal): Promise<number[]> {
    return this.#whole(query, [hitsRows(query)], signal, (sources) =>
      hitCounts(sources, { ...query, binMs }),
    );
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
    return this.#withSources(query, [COUNTED, COUNTED_FRAMES], until, false, async (sources) => ({
      counts: await countBy('class_name', COUNTED, sources, query),
      frames: await countBy('stream_id', COUNTED_FRAMES, sources, query),
      gaps: streams.length === 1 ? await gapsOf(sources, query, longerMs) : [],
      complete: sources.from <= range.from,
    }));
  }

  /** Writes a search's result as Parquet, with the detections' columns. @returns the file, which the caller removes */
  async parquet(query: Query, signal?: AbortSignal): Promise<string> {
    const all: RowSet = { table: 'detections', columns: Object.keys(COLUMNS.detections) };
    return this.#whole(query, [hitsRows(query), all], signal, async (sources) => {
      const { database, rows, from, signal: until } = sources;
      const hits = `SELECT * FROM (${await hitsOf(query, rows)}) ORDER BY ${NEWEST_FIRST} LIMIT ${Math.trunc(query.limit)}`;
      const path = join(database.folder, `export-${randomUUID()}.parquet`);
      const copying = database.run(
        `COPY (FROM (${await rows(all)}) SEMI JOIN (${hits}) USING (${FRAME_ID}) ORDER BY ${ORDER.detections})
         TO '${path.replaceAll("'", "''")}' (FORMAT parquet, PARQUET_VERSION v2, COMPRESSION zstd)`,
        until,
        valuesOf(query, from, query.to),
      );
      await copying.catch(async (error) => {
        // A cancelled copy leaves a part of the file.
        await rm(path, { force: true });
        throw error;
      });
      return path;
    });
  }

  /** @throws QueryError, also after the longest time of a query; or whatever `signal` is aborted with */
  async events(query: EventQuery, signal?: AbortSignal): Promise<EventPage> {
    const until = this.#bounded(signal);
    return withRetries(() => this.#events(query, until));
  }

  async #events(query: EventQuery, until: AbortSignal): Promise<EventPage> {
    const cursor = cursorOf(query);
    // This query covers only what the page before left.
    const range = cursor?.stream_id === undefined ? { ...query, to: endOf(query, cursor) } : query;
    const [engine, held] = await Promise.all([this.#open(), listCompacted(this.#kept.manifests, range)]);
    const { database, openEvents } = engine;
    // One file holds a day.
    const days = { from: query.from - (query.from % DAY_MS), to: query.to + DAY_MS };
    const listed = begun(Array.fromAsync(objectsOfHours(this.#bucket, 'tables/events/', days)));
    using files = engine.files.use();
    using open = await openEvents.read([EVENT_ROOT], range, held, until);
    const { from } = open;
    const wanted = { columns: Object.keys(COLUMNS.events), mayMatch: () => true };
    const objects = await listed;
    const bytes = objects.reduce((sum, { size }) => sum + size, 0);
    const { events, total } = await this.#semaphore(bytes, async () => {
      const paths = await files.paths(objects, wanted, until);
      const found = eventsOf(database, range, { paths, open, cursor }, until);
      return found.catch((error) => files.blame(error, database, until));
    });
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

  async #open(): Promise<Engine> {
    const { fileBytes, tailBytes } = this.#limits;
    const [former, known] = [this.#engine, await this.#engine];
    // The machine may delete its temporary files after some days.
    if (known && !existsSync(known.database.folder) && this.#engine === former) {
      this.#engine = undefined;
      await known.database.close();
    }
    this.#engine ??= openDatabase({ eachFileIsNew: true }).then((database) => ({
      database,
      files: new FileCache(this.#bucket, database.folder, fileBytes, tailBytes),
      openHours: new OpenHours(this.#kept.open, database, 'lines', this.#limits),
      openEvents: new OpenHours(this.#kept.open, database, 'events', this.#limits),
    }));
    this.#engine.catch(() => {
      this.#engine = undefined;
    });
    return this.#engine;
  }

  /** Answers from the whole range: each round reads on where the one before stopped. */
  async #whole<Answer>(
    query: Query,
    sets: readonly RowSet[],
    signal: AbortSignal | undefined,
    work: (sources: Sources) => Promise<Answer>,
  ): Promise<Answer> {
    const until = this.#bounded(signal);
    for (;;) {
      const done = await this.#withSources(query, sets, until, true, async (sources) =>
        sources.from <= query.from ? [await work(sources)] : [],
      );
      if (done.length > 0) return done[0] as Answer;
    }
  }

  /** Answers from a query's sources. @param sets all rows that the query reads */
  async #withSources<Answer>(
    query: Query,
    sets: readonly RowSet[],
    until: AbortSignal,
    whole: boolean | undefined,
    work: (sources: Sources) => Promise<Answer>,
  ): Promise<Answer> {
    return withRetries(async () => {
      const [engine, held, streams] = await Promise.all([
        this.#open(),
        listCompacted(this.#kept.manifests, query),
        query.streams?.length ? query.streams : this.streams(),
      ]);
      const bucket = this.#bucket;
      const sourcesQuery = { bucket, held, streams, query, sets, whole, limits: this.#limits };
      using sources = await openSources(engine, sourcesQuery, until);
      return await this.#semaphore(sources.bytes, () => work(sources)).catch(sources.blame);
    });
  }

  /** Ends a query that takes too long. Files that it has read stay, so that the next one needs less time. */
  #bounded(signal?: AbortSignal): AbortSignal {
    const { deadlineMs } = this.#limits;
    const late = new AbortController();
    const reason = new QueryError(`no answer within ${deadlineMs / 1_000} s: ${NARROW_QUERY}`);
    setTimeout(() => late.abort(reason), deadlineMs).unref();
    return signal ? AbortSignal.any([signal, late.signal]) : late.signal;
  }
}

const ATTEMPTS = 3;
/** How many of the largest queries run at the same time. */
const TOGETHER = 2;

/** Repeats the work if a file of the tables was replaced meanwhile, or is gone. */
async function withRetries<Answer>(work: () => Promise<Answer>): Promise<Answer> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (attempt === ATTEMPTS || !(isChanged(error) || isMissing(error))) throw error;
    }
  }
}

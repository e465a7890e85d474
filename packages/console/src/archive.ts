import { hourFolder } from '@video-pipeline/frame';
import { isMissing, type ListedObject, ObjectTooLargeError } from '@video-pipeline/storage';
import type { FrameFacts, SearchResult } from './api.ts';
import type { ArchiveBucket } from './bucket.ts';
import { cached, TextCache } from './caches.ts';
import { afterCursor, type Cursor, decodeCursor, encodeCursor } from './cursor.ts';

/** What to look for; times in epoch ms, `from` included, `to` not. */
export interface Query {
  stream?: string | undefined;
  class?: string | undefined;
  /** 0..1; with 0 and no class, frames without detections are found too. */
  confidence: number;
  from: number;
  to: number;
  cursor?: string | undefined;
}

/** Frames on a page. */
const PAGE = 24;
const CONCURRENCY = 16;
/** A search that has not filled its page by then answers with what it has and where to go on. */
const BUDGET_MS = 2_000;
const HOUR_MS = 3_600_000;
/** Clocks of S3 and of cameras need not agree to the second. */
const CLOCK_SLACK_MS = 60_000;
const CACHE_CHARACTERS = 64 * 1024 ** 2;

/**
 * Finds frames by their detections, from the NDJSON in the bucket alone. It lists only the hours asked for, newest
 * first, reads no more objects than fill a page, and keeps what it read, as an object with the same ETag never changes.
 */
export class Archive {
  readonly #bucket: ArchiveBucket;
  readonly #texts = new TextCache(CACHE_CHARACTERS);
  readonly #folders: (prefix: string) => Promise<string[]>;
  readonly #listNow: (prefix: string) => Promise<ListedObject[]>;
  readonly #listPast: (prefix: string) => Promise<ListedObject[]>;

  constructor(bucket: ArchiveBucket) {
    this.#bucket = bucket;
    this.#folders = cached((prefix) => bucket.folders(prefix), 5_000);
    this.#listNow = cached((prefix) => bucket.listAll(prefix), 2_000);
    // A redriven record may still reach an hour that is over.
    this.#listPast = cached((prefix) => bucket.listAll(prefix), 60_000);
  }

  /** Every stream that has detections in the bucket. */
  streams(): Promise<string[]> {
    return this.#folders('detections/');
  }

  /** One page of frames, newest first. */
  async search(query: Query): Promise<SearchResult> {
    const deadline = performance.now() + BUDGET_MS;
    const cursor = query.cursor === undefined ? undefined : decodeCursor(query.cursor);
    const frames: FrameFacts[] = [];
    let searchedTo = query.to;
    for (const [hour, prefixes] of await this.#hours(query)) {
      if (cursor && hour > cursor.hour) continue;
      const objects = await this.#objects(prefixes, query, cursor);
      for (let i = 0; i < objects.length; i += CONCURRENCY) {
        const chunk = objects.slice(i, i + CONCURRENCY);
        const texts = await Promise.all(chunk.map((object) => this.#text(object)));
        for (const [n, object] of chunk.entries()) {
          const skip = cursor?.key === object.key ? cursor.skip : 0;
          const found = matchesIn(texts[n] ?? '', query).slice(skip);
          const room = PAGE - frames.length;
          frames.push(...found.slice(0, room));
          if (found.length > room) return page(frames, { hour, ...object, skip: skip + room }, searchedTo);
          searchedTo = Math.min(searchedTo, object.stored);
          const full = frames.length === PAGE || performance.now() > deadline;
          if (full) return page(frames, { hour, ...object, skip: Number.MAX_SAFE_INTEGER }, searchedTo);
        }
      }
    }
    return page(frames, undefined, query.from);
  }

  /** The frame of a stream that was stored last; `undefined` when none is. */
  async last(stream: string): Promise<FrameFacts | undefined> {
    const newestFirst = (names: string[]) => names.sort().reverse();
    for (const date of newestFirst(await this.#folders(`detections/${stream}/`))) {
      for (const hour of newestFirst(await this.#folders(`detections/${stream}/${date}/`))) {
        const objects = await this.#listNow(`detections/${stream}/${date}/${hour}/`);
        const [object] = objects.sort((a, b) => b.stored - a.stored || (a.key < b.key ? 1 : -1));
        if (!object) continue;
        const everything: Query = { confidence: 0, from: 0, to: Number.POSITIVE_INFINITY };
        const [frame] = matchesIn(await this.#text(object), everything);
        if (frame) return frame;
      }
    }
    return undefined;
  }

  /** The facts of one frame of which stream and id are known. */
  async find(stream: string, capturedAt: number, frameNumber: number): Promise<FrameFacts | undefined> {
    const query: Query = { stream, confidence: 0, from: capturedAt, to: capturedAt + 1 };
    for (const [, prefixes] of await this.#hours(query)) {
      const objects = await this.#objects(prefixes, query, undefined);
      // Oldest first: a frame is stored soon after its capture.
      for (const object of objects.reverse()) {
        const frames = matchesIn(await this.#text(object), query);
        const frame = frames.find(({ frame_number }) => frame_number === frameNumber);
        if (frame) return frame;
      }
    }
    return undefined;
  }

  /** The hours in range that have objects, newest first, each with its folder of every stream. */
  async #hours({ stream, from, to }: Query): Promise<[hour: string, prefixes: string[]][]> {
    // An object is filed under the hour of its first frame; its last may belong to the next.
    const first = hourFolder(Math.max(0, from - HOUR_MS));
    const last = hourFolder(to);
    const hours = new Map<string, string[]>();
    const streams = stream ? [stream] : await this.streams();
    const perStream = streams.map(async (name) => {
      const dates = (await this.#folders(`detections/${name}/`)).filter(
        (date) => date >= first.slice(0, date.length) && date <= last.slice(0, date.length),
      );
      for (const date of dates) {
        for (const hour of await this.#folders(`detections/${name}/${date}/`)) {
          const folder = `${date}/${hour}`;
          if (folder < first || folder > last) continue;
          hours.set(folder, [...(hours.get(folder) ?? []), `detections/${name}/${folder}/`]);
        }
      }
    });
    await Promise.all(perStream);
    return [...hours].sort(([a], [b]) => (a < b ? 1 : -1));
  }

  /** Objects of these folders that may hold frames in range, those stored last first. */
  async #objects(prefixes: string[], query: Query, cursor: Cursor | undefined): Promise<ListedObject[]> {
    const now = hourFolder(Date.now() - HOUR_MS / 4);
    const lists = prefixes.map((prefix) => {
      const current = prefix.slice(prefix.indexOf('/date=') + 1) >= now;
      return current ? this.#listNow(prefix) : this.#listPast(prefix);
    });
    return (
      (await Promise.all(lists))
        .flat()
        // Stored before the range began, it can hold nothing captured in it.
        .filter((object) => object.key.endsWith('.ndjson') && object.stored >= query.from - CLOCK_SLACK_MS)
        .filter((object) => !cursor || afterCursor(object, cursor))
        .sort((a, b) => b.stored - a.stored || (a.key < b.key ? 1 : -1))
    );
  }

  async #text({ key, etag }: ListedObject): Promise<string> {
    const held = this.#texts.get(key, etag);
    if (held !== undefined) return held;
    const text = await this.#read(key);
    this.#texts.set(key, etag, text);
    return text;
  }

  // An object may expire between its listing and its reading; a huge one is none of annotate's.
  async #read(key: string): Promise<string> {
    try {
      return (await this.#bucket.read(key)).toString('utf8');
    } catch (error) {
      if (isMissing(error) || error instanceof ObjectTooLargeError) return '';
      throw error;
    }
  }
}

/** Frames of one NDJSON object that the query asks for, newest first. */
function matchesIn(text: string, query: Query): FrameFacts[] {
  const className = query.class === undefined ? undefined : JSON.stringify(query.class);
  return text
    .split('\n')
    .filter((line) => line !== '' && (className === undefined || line.includes(className)))
    .flatMap((line) => factsIn(line) ?? [])
    .filter((frame) => isMatch(frame, query))
    .sort((a, b) => b.captured_at - a.captured_at);
}

/** @returns `undefined` for a line that annotate did not write: anybody may put an object there. */
function factsIn(line: string): FrameFacts | undefined {
  try {
    const facts: FrameFacts = JSON.parse(line);
    const isFrame = typeof facts.stream_id === 'string' && Number.isFinite(facts.captured_at);
    return isFrame && facts.detections.every(({ class_name }) => class_name !== undefined)
      ? facts
      : undefined;
  } catch {
    return undefined;
  }
}

function isMatch(frame: FrameFacts, query: Query): boolean {
  if (frame.captured_at < query.from || frame.captured_at >= query.to) return false;
  if (query.class === undefined && query.confidence === 0) return true;
  return frame.detections.some(
    ({ class_name, confidence }) =>
      (query.class === undefined || class_name === query.class) && confidence >= query.confidence,
  );
}

function page(frames: FrameFacts[], next: Cursor | undefined, searchedTo: number): SearchResult {
  frames.sort((a, b) => b.captured_at - a.captured_at);
  return { frames, searched_to: searchedTo, ...(next ? { cursor: encodeCursor(next) } : {}) };
}

import { hourFolder } from '@video-pipeline/frame';
import { HttpError } from '@video-pipeline/http';
import { ifThere, inParallel, type MergingStore, objectsOf, type Reader } from '@video-pipeline/storage';

/** Event id -> when somebody reviewed the event, epoch ms. */
type Marks = Record<string, number>;

/** An event by its time and its id. */
export interface EventRef {
  at: number;
  event_id: string;
}

const keyOf = (at: number) => `reviews/${hourFolder(at)}/marks.json`;
/** Most hours whose marks are cached, and most that one query reads. */
const MAX_HOURS = 2_000;
/** Objects that are read in parallel. */
const READS = 16;

/**
 * Marks of the events that somebody has reviewed, as one object for each hour of events. A new mark is merged into the
 * stored object, so that two people do not overwrite each other's marks.
 */
export class Reviews {
  readonly #bucket: Pick<Reader, 'page' | 'read'>;
  readonly #store: Pick<MergingStore, 'merge'>;
  #marking: Promise<unknown> = Promise.resolve();
  readonly #hours = new Map<string, { etag: string; ids: string[] }>();

  constructor(bucket: Pick<Reader, 'page' | 'read'>, store: Pick<MergingStore, 'merge'>) {
    this.#bucket = bucket;
    this.#store = store;
  }

  /** Ids of the marked events in the hours of the range. @throws HttpError when the range is too long */
  marked(range: { from: number; to: number }): Promise<string[]> {
    return this.#marksOf(range, () => true);
  }

  /** Ids of the marked events in the hours of these events. */
  async markedOf(events: readonly EventRef[]): Promise<string[]> {
    if (events.length === 0) return [];
    const hours = new Set(events.map(({ at }) => keyOf(at)));
    const times = events.map(({ at }) => at);
    return this.#marksOf({ from: Math.min(...times), to: Math.max(...times) }, (key) => hours.has(key));
  }

  async #marksOf(
    { from, to }: { from: number; to: number },
    isWanted: (key: string) => boolean,
  ): Promise<string[]> {
    const hours: { key: string; etag: string }[] = [];
    const before = `reviews/${hourFolder(from)}/`;
    for await (const { key, etag } of objectsOf(this.#bucket, 'reviews/', before)) {
      if (key > keyOf(to)) break;
      if (isWanted(key)) hours.push({ key, etag });
      if (hours.length > MAX_HOURS)
        throw new HttpError(
          400,
          `events were reviewed in more than ${MAX_HOURS} hours of that time: ask for a shorter time, or for all events`,
        );
    }
    const ids = await inParallel(hours, READS, ({ key, etag }) => this.#read(key, etag));
    return ids.flat();
  }

  /** Marks are written one after another, since some S3 APIs lack conditional writes. */
  mark(events: readonly EventRef[], isReviewed: boolean): Promise<void> {
    const marking = this.#marking.then(() => this.#mark(events, isReviewed));
    this.#marking = marking.catch(() => {});
    return marking;
  }

  async #mark(events: readonly EventRef[], isReviewed: boolean): Promise<void> {
    const now = Date.now();
    const hours = Map.groupBy(events, ({ at }) => keyOf(at));
    await Promise.all(
      [...hours].map(([key, list]) =>
        this.#store.merge({
          key,
          contentType: 'application/json',
          exists: true,
          merge(before) {
            const marks = before === undefined ? {} : marksIn(key, before);
            for (const { event_id } of list) {
              if (isReviewed) marks[event_id] ??= now;
              else delete marks[event_id];
            }
            return JSON.stringify(marks);
          },
        }),
      ),
    );
  }

  async #read(key: string, etag: string): Promise<string[]> {
    const known = this.#hours.get(key);
    if (known?.etag === etag) return known.ids;
    const text = (await ifThere(this.#bucket.read(key))) ?? '{}';
    const ids = Object.keys(marksIn(key, text.toString()));
    this.#hours.delete(key);
    this.#hours.set(key, { etag, ids });
    if (this.#hours.size > MAX_HOURS) this.#hours.delete(this.#hours.keys().next().value ?? '');
    return ids;
  }
}

/** @throws Error that names the object and the remedy */
function marksIn(key: string, text: string): Marks {
  try {
    const marks = JSON.parse(text);
    if (typeof marks === 'object' && marks !== null && !Array.isArray(marks)) return marks;
  } catch {}
  throw new Error(`${key} holds no marks: remove it, and the events of its hour count as not reviewed`);
}

import { hourFolder } from '@video-pipeline/frame';
import { isMissing, type MergingStore, objectsOf, type Reader } from '@video-pipeline/storage';

/** An event's mark: when somebody looked at it, epoch ms. */
type Marks = Record<string, number>;

/** An event by when it happened and its id. */
export interface EventRef {
  at: number;
  event_id: string;
}

const keyOf = (at: number) => `reviews/${hourFolder(at)}/marks.json`;
/** Hours whose marks are remembered. */
const MAX_HOURS = 2_000;

/**
 * Which events somebody has looked at: an object for each hour of events. A mark is added to what stands there when it is
 * written, so that two people lose nothing of each other's.
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

  /** Ids of the events marked that happened in the hours of the range. */
  async marked({ from, to }: { from: number; to: number }): Promise<string[]> {
    const ids: string[][] = [];
    const before = `reviews/${hourFolder(from)}/`;
    for await (const { key, etag } of objectsOf(this.#bucket, 'reviews/', before)) {
      if (key > keyOf(to)) break;
      ids.push(await this.#read(key, etag));
    }
    return ids.flat();
  }

  /** One at a time: not every S3 API compares and writes in one step. */
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
            const marks: Marks = before ? JSON.parse(before) : {};
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
    const text = await this.#bucket.read(key).catch((error) => {
      if (isMissing(error)) return '{}';
      throw error;
    });
    const ids = Object.keys(JSON.parse(text.toString()));
    this.#hours.delete(key);
    this.#hours.set(key, { etag, ids });
    if (this.#hours.size > MAX_HOURS) this.#hours.delete(this.#hours.keys().next().value ?? '');
    return ids;
  }
}

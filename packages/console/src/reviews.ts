import { hourFolder } from '@video-pipeline/frame';
import { HttpError } from '@video-pipeline/http';
import {
  cached,
  ifThere,
  inParallel,
  inTurn,
  type MergingStore,
  objectsOfHours,
  type Reader,
} from '@video-pipeline/storage';

/** Event id -> when somebody reviewed the event, epoch ms. */
type Marks = Record<string, number>;

export interface EventRef {
  at: number;
  event_id: string;
}

const keyOf = (at: number) => `reviews/${hourFolder(at)}/marks.json`;
/** Most hours whose marks are cached, and most that one query reads. */
const MAX_HOURS = 2_000;
const READS = 16;

export type Reviews = ReturnType<typeof keepReviews>;

/**
 * Marks of the events that somebody has reviewed, as one object for each hour of events. A new mark is merged into the
 * stored object, so that two people do not overwrite each other's marks.
 */
export function keepReviews(bucket: Pick<Reader, 'page' | 'read'>, store: Pick<MergingStore, 'merge'>) {
  const next = inTurn();
  /** Ids in one version of an object, by `<key> <etag>`. */
  const idsOf = cached(
    async (version) => {
      const [key = ''] = version.split(' ');
      const text = (await ifThere(bucket.read(key))) ?? '{}';
      return Object.keys(marksIn(key, text.toString()));
    },
    Number.POSITIVE_INFINITY,
    MAX_HOURS,
  );
  async function marksOf(
    { from, to }: { from: number; to: number },
    isWanted: (key: string) => boolean,
  ): Promise<string[]> {
    const hours: string[] = [];
    for await (const { key, etag } of objectsOfHours(bucket, 'reviews/', { from, to: to + 1 })) {
      if (isWanted(key)) hours.push(`${key} ${etag}`);
      const many = `events were reviewed in more than ${MAX_HOURS} hours of that time`;
      if (hours.length > MAX_HOURS)
        throw new HttpError(400, `${many}: ask for a shorter time, or for all events`);
    }
    return (await inParallel(hours, READS, idsOf)).flat();
  }
  async function markNow(events: readonly EventRef[], isReviewed: boolean): Promise<void> {
    const now = Date.now();
    const hours = Map.groupBy(events, ({ at }) => keyOf(at));
    const writes = [...hours].map(([key, list]) => {
      const merge = (before?: string) => {
        const marks = before === undefined ? {} : marksIn(key, before);
        for (const { event_id } of list) {
          if (isReviewed) marks[event_id] ??= now;
          else delete marks[event_id];
        }
        return JSON.stringify(marks);
      };
      return store.merge({ key, contentType: 'application/json', exists: true, merge });
    });
    await Promise.all(writes);
  }
  return {
    /** Ids of the marked events in the hours of the range. @throws HttpError when the range is too long */
    marked: (range: { from: number; to: number }) => marksOf(range, () => true),
    /** Ids of the marked events in the hours of these events. */
    async markedOf(events: readonly EventRef[]): Promise<string[]> {
      if (events.length === 0) return [];
      const hours = new Set(events.map(({ at }) => keyOf(at)));
      const times = events.map(({ at }) => at);
      return marksOf({ from: Math.min(...times), to: Math.max(...times) }, (key) => hours.has(key));
    },
    /** Marks are written one after another, since some S3 APIs lack conditional writes. */
    mark: (events: readonly EventRef[], isReviewed: boolean) => next(() => markNow(events, isReviewed)),
  };
}

/** @throws Error that names the object and the remedy */
function marksIn(key: string, text: string): Marks {
  try {
    const marks = JSON.parse(text);
    if (typeof marks === 'object' && marks !== null && !Array.isArray(marks)) return marks;
  } catch {}
  throw new Error(`${key} holds no marks: remove it, and the events of its hour count as not reviewed`);
}

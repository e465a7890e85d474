import { availableParallelism } from 'node:os';
import { FairQueue } from './fair-queue.ts';

export type Lane<Item> = ReturnType<typeof createLane<Item>>;

/**
 * Processes a limited number of items at the same time. The others wait. Clients are served in turn.
 * @param places most items under way @param run processes one item; never rejects
 */
export function createLane<Item>(places: number, run: (item: Item) => Promise<void>) {
  const waiting = new FairQueue<Item>();
  const underWay = new Set<Promise<void>>();
  const startNext = () => {
    while (underWay.size < places) {
      const item = waiting.shift();
      if (item === undefined) return;
      const done = run(item).finally(() => {
        underWay.delete(done);
        startNext();
      });
      underWay.add(done);
    }
  };
  return {
    /** Items not begun yet. They wait here, where they can be removed when their client has gone. */
    waiting,
    push(client: string, item: Item): void {
      waiting.push(client, item);
      startNext();
    },
    /** Items begun and not done. */
    get underWay(): number {
      return underWay.size;
    },
    async idle(): Promise<void> {
      while (underWay.size > 0) await Promise.all(underWay);
    },
  };
}

/** A picture with more samples is large: more than an 8K camera's in 4:2:0. It occupies a thread for long. */
const LARGE = 50_000_000;
/** Number of libuv's threads, which decode: its own variable and its own default. */
const THREADS = Number(process.env.UV_THREADPOOL_SIZE) || 4;
/** Large pictures that are decoded at the same time: it bounds their memory, and leaves most threads to others. */
const LARGE_PLACES = Math.max(1, Math.floor(Math.min(THREADS, availableParallelism()) / 4));

export type DecodingLanes<Item> = ReturnType<typeof createDecodingLanes<Item>>;

/**
 * Pictures that wait for a thread. Large ones have their own lane, never all threads.
 * @param places for pictures of ordinary size @param run as for {@link createLane}
 */
export function createDecodingLanes<Item>(places: number, run: (item: Item) => Promise<void>) {
  const ordinary = createLane(places, run);
  const large = createLane(LARGE_PLACES, run);
  return {
    get waiting(): number {
      return ordinary.waiting.size + large.waiting.size;
    },
    get underWay(): number {
      return ordinary.underWay + large.underWay;
    },
    /** @param work samples that decoding has to process */
    push(client: string, item: Item, work: number): void {
      (work > LARGE ? large : ordinary).push(client, item);
    },
    /** Removes the client's matching items that have not begun. @returns the removed items */
    remove(client: string, matches: (item: Item) => boolean): Item[] {
      return [ordinary, large].flatMap(({ waiting }) => waiting.remove(client, matches));
    },
    async idle(): Promise<void> {
      await Promise.all([ordinary.idle(), large.idle()]);
    },
  };
}

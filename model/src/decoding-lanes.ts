import { availableParallelism } from 'node:os';
import { FairQueue } from './fair-queue.ts';

export interface DecodingLanesOptions<Item> {
  /** Most items of ordinary size under way at the same time. */
  places: number;
  /** Works on one; never rejects. */
  run(item: Item): Promise<void>;
}

/** Samples of a large picture: more than those of any camera of up to 8K, 4:2:0. Such a one takes a thread for long. */
const LARGE = 50_000_000;
/** Threads that decode: libuv's, by its own variable and default. */
const THREADS = Number(process.env.UV_THREADPOOL_SIZE) || 4;
/** Large pictures in work at once: they leave most threads, and the memory that many would take, to the others. */
const LARGE_PLACES = Math.max(1, Math.floor(Math.min(THREADS, availableParallelism()) / 4));

interface Lane<Item> {
  queue: FairQueue<Item>;
  places: number;
  underWay: number;
}

/** Pictures that wait for a thread, large ones in a lane of their own, so that they never take all threads. Clients are served in turn. */
export class DecodingLanes<Item> {
  readonly #run: (item: Item) => Promise<void>;
  readonly #ordinary: Lane<Item>;
  readonly #large: Lane<Item>;
  /** Resolved when the last item is done; a new one when work begins again. */
  #idle = Promise.withResolvers<void>();

  constructor({ places, run }: DecodingLanesOptions<Item>) {
    this.#run = run;
    this.#ordinary = { queue: new FairQueue(), places, underWay: 0 };
    this.#large = { queue: new FairQueue(), places: LARGE_PLACES, underWay: 0 };
    this.#idle.resolve();
  }

  /** Items not begun yet. */
  get waiting(): number {
    return this.#ordinary.queue.size + this.#large.queue.size;
  }

  /** @param work samples that decoding it visits */
  push(client: string, item: Item, work: number): void {
    const lane = work > LARGE ? this.#large : this.#ordinary;
    lane.queue.push(client, item);
    this.#startNext(lane);
  }

  /** Takes a client's items out that are not begun and match. @returns them */
  remove(client: string, matches: (item: Item) => boolean): Item[] {
    return [this.#ordinary, this.#large].flatMap(({ queue }) => queue.remove(client, matches));
  }

  /** Waits until nothing is under way. */
  async idle(): Promise<void> {
    await this.#idle.promise;
  }

  #startNext(lane: Lane<Item>): void {
    while (lane.underWay < lane.places) {
      const item = lane.queue.shift();
      if (item === undefined) return;
      if (this.underWay === 0) this.#idle = Promise.withResolvers();
      lane.underWay++;
      void this.#run(item).finally(() => {
        lane.underWay--;
        this.#startNext(lane);
        if (this.underWay === 0) this.#idle.resolve();
      });
    }
  }

  /** Items begun and not done. */
  get underWay(): number {
    return this.#ordinary.underWay + this.#large.underWay;
  }
}

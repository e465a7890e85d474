import { availableParallelism } from 'node:os';
import { FairQueue } from './fair-queue.ts';

interface DecodingLanesOptions<Item> {
  /** Most items of ordinary size under way at the same time. */
  places: number;
  /** Processes one item; never rejects. */
  run(item: Item): Promise<void>;
}

/** Samples from which a picture is large, more than an 8K camera's in 4:2:0. It occupies a thread for long. */
const LARGE = 50_000_000;
/** Number of libuv's threads, which decode: its own variable and its own default. */
const THREADS = Number(process.env.UV_THREADPOOL_SIZE) || 4;
/** Large pictures in work at the same time. The limit bounds their memory, and leaves most threads to others. */
const LARGE_PLACES = Math.max(1, Math.floor(Math.min(THREADS, availableParallelism()) / 4));

interface Lane<Item> {
  queue: FairQueue<Item>;
  places: number;
  underWay: number;
}

/** Pictures that wait for a thread. Large ones have their own lane, never all threads. Clients are served in turn. */
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

  /** @param work samples that decoding has to process */
  push(client: string, item: Item, work: number): void {
    const lane = work > LARGE ? this.#large : this.#ordinary;
    lane.queue.push(client, item);
    this.#startNext(lane);
  }

  /** Removes the client's matching items that have not begun. @returns the removed items */
  remove(client: string, matches: (item: Item) => boolean): Item[] {
    return [this.#ordinary, this.#large].flatMap(({ queue }) => queue.remove(client, matches));
  }

  /** Waits until no item is in work. */
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

import { availableParallelism } from 'node:os';
import { FairQueue } from './fair-queue.ts';

/** Processes a limited number of items at the same time. The others wait. Clients are served in turn. */
export class Lane<Item> {
  /** Items not begun yet. They wait here, where they can be removed when their client has gone. */
  readonly waiting = new FairQueue<Item>();
  readonly #places: number;
  readonly #run: (item: Item) => Promise<void>;
  readonly #underWay = new Set<Promise<void>>();

  /** @param places most items under way @param run processes one item; never rejects */
  constructor(places: number, run: (item: Item) => Promise<void>) {
    this.#places = places;
    this.#run = run;
  }

  push(client: string, item: Item): void {
    this.waiting.push(client, item);
    this.#startNext();
  }

  /** Items begun and not done. */
  get underWay(): number {
    return this.#underWay.size;
  }

  async idle(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.all(this.#underWay);
  }

  #startNext(): void {
    while (this.#underWay.size < this.#places) {
      const item = this.waiting.shift();
      if (item === undefined) return;
      const done = this.#run(item).finally(() => {
        this.#underWay.delete(done);
        this.#startNext();
      });
      this.#underWay.add(done);
    }
  }
}

/** A picture with more samples is large: more than an 8K camera's in 4:2:0. It occupies a thread for long. */
const LARGE = 50_000_000;
/** Number of libuv's threads, which decode: its own variable and its own default. */
const THREADS = Number(process.env.UV_THREADPOOL_SIZE) || 4;
/** Large pictures that are decoded at the same time: it bounds their memory, and leaves most threads to others. */
const LARGE_PLACES = Math.max(1, Math.floor(Math.min(THREADS, availableParallelism()) / 4));

/** Pictures that wait for a thread. Large ones have their own lane, never all threads. */
export class DecodingLanes<Item> {
  readonly #ordinary: Lane<Item>;
  readonly #large: Lane<Item>;

  /** As for {@link Lane}. @param places for pictures of ordinary size */
  constructor(places: number, run: (item: Item) => Promise<void>) {
    this.#ordinary = new Lane(places, run);
    this.#large = new Lane(LARGE_PLACES, run);
  }

  get waiting(): number {
    return this.#ordinary.waiting.size + this.#large.waiting.size;
  }

  get underWay(): number {
    return this.#ordinary.underWay + this.#large.underWay;
  }

  /** @param work samples that decoding has to process */
  push(client: string, item: Item, work: number): void {
    (work > LARGE ? this.#large : this.#ordinary).push(client, item);
  }

  /** Removes the client's matching items that have not begun. @returns the removed items */
  remove(client: string, matches: (item: Item) => boolean): Item[] {
    return [this.#ordinary, this.#large].flatMap(({ waiting }) => waiting.remove(client, matches));
  }

  async idle(): Promise<void> {
    await Promise.all([this.#ordinary.idle(), this.#large.idle()]);
  }
}

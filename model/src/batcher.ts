export interface BatcherOptions<Item, Result> {
  /**
   * Preferred sizes of a batch, ascending. When one is reached a batch of it starts without waiting for more, and what
   * is over stays for the next; the largest is the most items of a batch.
   */
  sizes: readonly number[];
  /** Longest wait of an item for others to reach a preferred size, milliseconds; then a batch of any size starts. */
  maxDelayMs: number;
  /** Batches that run at the same time. */
  concurrency: number;
  /**
   * Sizes that a batch may have, ascending, where others would cost: a batch is cut to one, or filled up to one by who
   * runs it. With them, a batch also starts as soon as no announced item is on its way.
   */
  rungs?: readonly number[];
  /** Items with different keys never share a batch. */
  keyOf(item: Item): string;
  /** Why the item needs no result any more; it is in no batch then, and rejects with that. */
  endOf?(item: Item): unknown;
  /** @returns one result an item, in their order */
  run(items: Item[]): Promise<Result[]>;
}

interface Waiting<Item, Result> {
  item: Item;
  since: number;
  resolve(result: Result): void;
  reject(error: unknown): void;
}

/**
 * Groups items that come one by one into batches, oldest first. It knows nothing of what the items are.
 * @see https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/user_guide/batcher.html for what
 *   preferred sizes and delay mean in Triton, which this follows
 */
export class Batcher<Item, Result> {
  readonly #options: BatcherOptions<Item, Result>;
  /** By key; a key is there only while an item waits under it, the one that waits longest first. */
  readonly #waiting = new Map<string, Waiting<Item, Result>[]>();
  #running = 0;
  /** Announced, and not added yet. */
  #onTheirWay = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: BatcherOptions<Item, Result>) {
    this.#options = options;
  }

  /** Says that an item is on its way. @returns what to call once when it has been added, or won't be */
  announce(): () => void {
    this.#onTheirWay++;
    return () => {
      if (--this.#onTheirWay === 0) this.#startReady();
    };
  }

  /** @returns the item's own result; rejects with what its batch failed with */
  add(item: Item): Promise<Result> {
    const { promise, resolve, reject } = Promise.withResolvers<Result>();
    const key = this.#options.keyOf(item);
    const waiting = this.#waiting.get(key) ?? [];
    waiting.push({ item, since: performance.now(), resolve, reject });
    this.#waiting.set(key, waiting);
    this.#startReady();
    return promise;
  }

  #startReady(): void {
    clearTimeout(this.#timer);
    while (this.#running < this.#options.concurrency) {
      this.#dropEnded();
      const now = performance.now();
      const ready = [...this.#waiting].find(([, waiting]) => this.#patience(waiting, now) <= 0);
      if (ready) {
        void this.#run(this.#take(...ready));
        continue;
      }
      const soonest = Math.min(...[...this.#waiting.values()].map((waiting) => this.#patience(waiting, now)));
      if (soonest !== Number.POSITIVE_INFINITY) this.#timer = setTimeout(() => this.#startReady(), soonest);
      return;
    }
  }

  /** How long the batch may still wait to reach a preferred size, milliseconds. */
  #patience(waiting: Waiting<Item, Result>[], now: number): number {
    const isAlone = this.#options.rungs !== undefined && this.#onTheirWay === 0;
    if (isAlone || this.#preferred(waiting)) return 0;
    return (waiting[0]?.since ?? now) + this.#options.maxDelayMs - now;
  }

  /** The largest preferred size that as many make; `undefined` when they are fewer than the smallest. */
  #preferred({ length }: Waiting<Item, Result>[]): number | undefined {
    return this.#options.sizes.findLast((size) => size <= length);
  }

  #dropEnded(): void {
    const { endOf } = this.#options;
    if (!endOf) return;
    for (const [key, waiting] of this.#waiting) {
      const left = waiting.filter(({ item, reject }) => {
        const reason = endOf(item);
        if (reason !== undefined) reject(reason);
        return reason === undefined;
      });
      if (left.length === 0) this.#waiting.delete(key);
      else if (left.length < waiting.length) this.#waiting.set(key, left);
    }
  }

  #take(key: string, waiting: Waiting<Item, Result>[]): Waiting<Item, Result>[] {
    const { rungs } = this.#options;
    const size = this.#preferred(waiting) ?? waiting.length;
    const batch = waiting.splice(0, rungs ? countOnRung(size, rungs) : size);
    // To the end of the order, so that no key starves another.
    this.#waiting.delete(key);
    if (waiting.length > 0) this.#waiting.set(key, waiting);
    return batch;
  }

  async #run(batch: Waiting<Item, Result>[]): Promise<void> {
    this.#running++;
    try {
      const results = await this.#options.run(batch.map(({ item }) => item));
      for (const [index, waiting] of batch.entries()) waiting.resolve(results[index] as Result);
    } catch (error) {
      for (const waiting of batch) waiting.reject(error);
    } finally {
      this.#running--;
      this.#startReady();
    }
  }
}

/** A batch may be filled up by half as much again as it has; what is fewer goes on the rung below, and the rest later. */
const MOST_FILLED = 1.5;

/** How many of `count` items go into a batch: all where the next rung is near, else what the rung below holds. */
function countOnRung(count: number, rungs: readonly number[]): number {
  const next = rungUp(count, rungs);
  const below = rungs.findLast((rung) => rung <= count);
  return below === undefined || next <= MOST_FILLED * count ? Math.min(count, next) : below;
}

/** The smallest rung that holds `count` items; the largest when none does. */
export function rungUp(count: number, rungs: readonly number[]): number {
  return rungs.find((rung) => rung >= count) ?? rungs.at(-1) ?? count;
}

/** Sizes of batches where each is prepared for: few, so that little is filled up in vain. */
const RUNGS = [1, 2, 4, 8, 16];

/** The preferred numbers of pictures, and the rungs under them, ascending. */
export function rungsUpTo(batchSizes: readonly number[]): number[] {
  const most = Math.max(...batchSizes);
  return [...new Set([...RUNGS.filter((rung) => rung < most), ...batchSizes])].sort((a, b) => a - b);
}

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
  /** Items with different keys never share a batch. */
  keyOf(item: Item): string;
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
  #timer: NodeJS.Timeout | undefined;

  constructor(options: BatcherOptions<Item, Result>) {
    this.#options = options;
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
    if (this.#preferred(waiting)) return 0;
    return (waiting[0]?.since ?? now) + this.#options.maxDelayMs - now;
  }

  /** The largest preferred size that as many make; `undefined` when they are fewer than the smallest. */
  #preferred({ length }: Waiting<Item, Result>[]): number | undefined {
    return this.#options.sizes.findLast((size) => size <= length);
  }

  #take(key: string, waiting: Waiting<Item, Result>[]): Waiting<Item, Result>[] {
    const batch = waiting.splice(0, this.#preferred(waiting) ?? waiting.length);
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

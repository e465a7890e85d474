interface BatcherOptions<Item, Result> {
  /**
   * Preferred sizes of a batch, ascending. Once enough items wait for a preferred size, a batch of that size starts at
   * once. Further items stay for the next batch. The largest preferred size is the limit of a batch.
   */
  sizes: readonly number[];
  /** Longest wait of an item for others to reach a preferred size, milliseconds; then a batch of any size starts. */
  maxDelayMs: number;
  concurrency: number;
  /** Whether `run` pads a batch to a preferred size. Then a batch also starts once no announced item is missing. */
  isPadded?: boolean;
  /** Items with different keys never share a batch. */
  keyOf(item: Item): string;
  /** The reason why an item needs no result any more, or undefined. Such an item joins no batch and rejects with it. */
  endOf?(item: Item): unknown;
  /** @returns one result an item, in their order */
  run(items: Item[]): Promise<Result[]>;
}

type Waiting<Item, Result> = PromiseWithResolvers<Result> & { item: Item; since: number };

/**
 * Groups items that come one by one into batches, oldest first.
 * @see https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/user_guide/batcher.html for what
 *   preferred sizes and delay mean in Triton, which this follows
 */
export class Batcher<Item, Result> {
  readonly #options: BatcherOptions<Item, Result>;
  /** Waiting items by key. A key exists only while items wait for it; the key that has waited longest comes first. */
  readonly #waiting = new Map<string, Waiting<Item, Result>[]>();
  #running = 0;
  /** Number of items that are announced and not added yet. */
  #announced = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: BatcherOptions<Item, Result>) {
    this.#options = options;
  }

  /** Announces an item. @returns a function to call once, when the item has been added or will never be */
  announce(): () => void {
    this.#announced++;
    return () => {
      if (--this.#announced === 0) this.#startReady();
    };
  }

  /** @returns the item's own result; rejects with the error of its batch */
  add(item: Item): Promise<Result> {
    const result = Promise.withResolvers<Result>();
    const key = this.#options.keyOf(item);
    const waiting = this.#waiting.get(key) ?? [];
    waiting.push({ item, since: performance.now(), ...result });
    this.#waiting.set(key, waiting);
    this.#startReady();
    return result.promise;
  }

  #startReady(): void {
    clearTimeout(this.#timer);
    while (this.#running < this.#options.concurrency) {
      this.#dropEnded();
      const now = performance.now();
      const ready = [...this.#waiting].find(([, waiting]) => this.#remainingWait(waiting, now) <= 0);
      if (ready) {
        void this.#run(this.#take(...ready));
        continue;
      }
      const waits = [...this.#waiting.values()].map((waiting) => this.#remainingWait(waiting, now));
      const soonest = Math.min(...waits);
      if (soonest !== Number.POSITIVE_INFINITY) this.#timer = setTimeout(() => this.#startReady(), soonest);
      return;
    }
  }

  /** How long the batch may still wait to reach a preferred size, milliseconds. */
  #remainingWait(waiting: Waiting<Item, Result>[], now: number): number {
    const isAlone = this.#options.isPadded && this.#announced === 0;
    if (isAlone || this.#preferred(waiting)) return 0;
    return (waiting[0]?.since ?? now) + this.#options.maxDelayMs - now;
  }

  /** The largest preferred size that the waiting items fill; `undefined` when they fill none. */
  #preferred({ length }: Waiting<Item, Result>[]): number | undefined {
    return this.#options.sizes.findLast((size) => size <= length);
  }

  #dropEnded(): void {
    const { endOf } = this.#options;
    if (!endOf) return;
    for (const [key, waiting] of this.#waiting) {
      const remaining = waiting.filter(({ item, reject }) => {
        const reason = endOf(item);
        if (reason !== undefined) reject(reason);
        return reason === undefined;
      });
      if (remaining.length === 0) this.#waiting.delete(key);
      else if (remaining.length < waiting.length) this.#waiting.set(key, remaining);
    }
  }

  #take(key: string, waiting: Waiting<Item, Result>[]): Waiting<Item, Result>[] {
    const batch = waiting.splice(0, this.#preferred(waiting) ?? waiting.length);
    // The key goes to the end of the order, so that no key starves another.
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

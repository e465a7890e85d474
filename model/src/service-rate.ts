/** Time constant of the average, milliseconds: after this time an item has a third (1/e) of its weight. */
const MEMORY_MS = 5_000;

/** Measures how many items a second are done while there is work. */
export class ServiceRate {
  #items = 0;
  #busyMs = 0;
  #since: number | undefined;

  /** Items a second, over the last seconds with work; `Infinity` before the first item. */
  get perSecond(): number {
    return this.#busyMs > 0 ? (1000 * this.#items) / this.#busyMs : Number.POSITIVE_INFINITY;
  }

  /** Marks the start of work, unless work is in progress. */
  begin(now = performance.now()): void {
    this.#since ??= now;
  }

  /** Counts items that are done. @param isIdle whether no work is left */
  done(items: number, isIdle: boolean, now = performance.now()): void {
    const elapsed = now - (this.#since ?? now);
    const weight = Math.exp(-elapsed / MEMORY_MS);
    this.#items = this.#items * weight + items;
    this.#busyMs = this.#busyMs * weight + elapsed;
    this.#since = isIdle ? undefined : now;
  }
}

/** How long what was done counts, milliseconds: after so long it weighs a third. */
const MEMORY_MS = 5_000;

/** How many items a second get done while there is work. */
export class ServiceRate {
  #items = 0;
  #busyMs = 0;
  #since: number | undefined;

  /** Items a second, of the last seconds with work; `Infinity` before anything was done. */
  get perSecond(): number {
    return this.#busyMs > 0 ? (1000 * this.#items) / this.#busyMs : Number.POSITIVE_INFINITY;
  }

  /** Work begins, unless it has. */
  begin(now = performance.now()): void {
    this.#since ??= now;
  }

  /** So many items are done. @param isIdle whether there is no work left */
  done(items: number, isIdle: boolean, now = performance.now()): void {
    const elapsed = now - (this.#since ?? now);
    const weight = Math.exp(-elapsed / MEMORY_MS);
    this.#items = this.#items * weight + items;
    this.#busyMs = this.#busyMs * weight + elapsed;
    this.#since = isIdle ? undefined : now;
  }
}

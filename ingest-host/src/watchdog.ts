/** Aborts its signal when it is not fed for a while. */
export class Watchdog {
  readonly #controller = new AbortController();
  readonly #milliseconds: number;
  #timer: NodeJS.Timeout | undefined;
  readonly signal: AbortSignal = this.#controller.signal;

  constructor(milliseconds: number) {
    this.#milliseconds = milliseconds;
    this.feed();
  }

  feed(): void {
    // Not refreshed: a timer that was cleared never fires again.
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#controller.abort(), this.#milliseconds);
  }

  /** Stops it until it is fed again. */
  stop(): void {
    clearTimeout(this.#timer);
  }
}

/** Aborts its signal when it is not fed for a while. */
export class Watchdog {
  readonly #controller = new AbortController();
  readonly #timer: NodeJS.Timeout;
  readonly signal: AbortSignal = this.#controller.signal;

  constructor(milliseconds: number) {
    this.#timer = setTimeout(() => this.#controller.abort(), milliseconds);
  }

  feed(): void {
    this.#timer.refresh();
  }

  /** Stops it until it is fed again. */
  stop(): void {
    clearTimeout(this.#timer);
  }
}

import { setTimeout as delay } from 'node:timers/promises';
import type { MayWant, Picture, Source } from './source.ts';

/** A picture later than this was held up by the network: what follows goes by its arrival, milliseconds. */
const MAX_LATE_MS = 2_000;
/** One that would have to wait longer is of another clock, milliseconds. */
const MAX_EARLY_MS = 60_000;

/**
 * A live source whose pictures arrive many at a time, as HLS's do by segments: they are given at the pace of their
 * presentation times, so that arrival is evenly spaced. What has not been given is not decoded yet.
 */
export class PacedSource implements Source {
  readonly #source: Source;
  readonly #signal: AbortSignal | undefined;
  readonly live = true;
  /** Players begin three segments before the end of a list. */
  readonly maxDelayMs = 300_000;

  constructor(source: Source, signal: AbortSignal | undefined) {
    this.#source = source;
    this.#signal = signal;
  }

  async *pictures(mayWant?: MayWant): AsyncGenerator<Picture, void> {
    // When the presentation time 0 is due.
    let start: number | undefined;
    for await (const picture of this.#source.pictures(mayWant)) {
      const time = picture.time * 1000;
      start ??= performance.now() - time;
      const early = start + time - performance.now();
      if (early < -MAX_LATE_MS || early > MAX_EARLY_MS) start = performance.now() - time;
      else if (early > 1) await delay(early, undefined, this.#signal ? { signal: this.#signal } : {});
      yield picture;
    }
  }

  get format() {
    return this.#source.format;
  }
  get device() {
    return this.#source.device;
  }
  get awaited() {
    return this.#source.awaited;
  }
  interrupt(): void {
    this.#source.interrupt();
  }
  close(): Promise<void> {
    return this.#source.close();
  }
}

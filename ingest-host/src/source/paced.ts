import { setTimeout as delay } from 'node:timers/promises';
import type { MayWant, Picture, Source } from './source.ts';

/** A picture that is later was delayed by the network: the pace restarts with its arrival; milliseconds. */
const MAX_LATE_MS = 2_000;
/** A picture that would have to wait longer has another clock: the pace restarts; milliseconds. */
const MAX_EARLY_MS = 60_000;

/**
 * A live source whose pictures arrive in groups, as in HLS segments. It returns them at the pace of their presentation
 * times, so that their arrival is evenly spaced. Pictures that have not been returned are not decoded yet.
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

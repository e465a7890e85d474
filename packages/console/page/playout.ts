import type { LiveFrame } from '../src/api.ts';

const JITTER_WINDOW_MS = 10_000;
const MAX_DELAY_MS = 15_000;
const MAX_QUEUE = 300;

/**
 * Smooths a stream that arrives in batches. Each frame is due at its capture time plus the longest delay of any frame
 * in the last ten seconds. The clocks of camera and reader may differ, since only differences between delays matter.
 */
export class Playout {
  readonly #queue: LiveFrame[] = [];
  readonly #delays: { at: number; ms: number }[] = [];
  #delay = 0;

  /** @param now the reader's clock, ms */
  push(frame: LiveFrame, now: number): void {
    this.#delays.push({ at: now, ms: now - frame.captured_at });
    while ((this.#delays[0]?.at ?? now) < now - JITTER_WINDOW_MS) this.#delays.shift();
    const delays = this.#delays.map(({ ms }) => ms);
    this.#delay = Math.min(Math.max(...delays), Math.min(...delays) + MAX_DELAY_MS);
    this.#queue.push(frame);
    if (this.#queue.length > MAX_QUEUE) this.#queue.shift();
  }

  /** The newest frame that is due. Frames before it are skipped. */
  due(now: number): LiveFrame | undefined {
    let due: LiveFrame | undefined;
    for (let next = this.#queue[0]; next && next.captured_at + this.#delay <= now; next = this.#queue[0]) {
      due = this.#queue.shift();
    }
    return due;
  }
}

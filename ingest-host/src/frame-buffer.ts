import type { Frame } from '@video-pipeline/frame';

/** What waits of one stream for Kafka: the newest `maxMs`, oldest first. */
export class FrameBuffer {
  readonly #maxMs: number;
  readonly #frames: Frame[] = [];

  /** @param maxMs longest span between the oldest and the newest frame kept, milliseconds */
  constructor(maxMs: number) {
    this.#maxMs = maxMs;
  }

  get length(): number {
    return this.#frames.length;
  }

  /** @returns the frames that had to go for it, oldest first */
  push(frame: Frame): Frame[] {
    this.#frames.push(frame);
    const tooOld = this.#frames.findIndex((one) => one.capturedAt >= frame.capturedAt - this.#maxMs);
    return this.#frames.splice(0, tooOld);
  }

  get oldest(): Frame | undefined {
    return this.#frames[0];
  }

  shift(): Frame | undefined {
    return this.#frames.shift();
  }
}

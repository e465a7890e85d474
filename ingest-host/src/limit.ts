/** Counts frames towards MAX_FRAMES: as many places as frames may still be published. */
export class FrameLimit {
  #free: number;
  #left: number;
  readonly #reached = Promise.withResolvers<void>();
  /** Resolves once `max` frames are published. */
  readonly reached: Promise<void> = this.#reached.promise;

  /** @param max `Infinity` for no limit */
  constructor(max: number) {
    this.#free = max;
    this.#left = max;
  }

  /** Takes the place of one frame; false when all are taken. */
  take(): boolean {
    if (this.#free <= 0) return false;
    this.#free -= 1;
    return true;
  }

  published(frames: number): void {
    this.#left -= frames;
    if (this.#left <= 0) this.#reached.resolve();
  }

  /** Frames that will never be published give their places back. */
  dropped(frames: number): void {
    this.#free += frames;
  }
}

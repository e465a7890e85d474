/** Enforces MAX_FRAMES: each frame needs one of a limited number of places. */
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

  /** Reserves a place for one frame; false when none is left. */
  take(): boolean {
    if (this.#free <= 0) return false;
    this.#free -= 1;
    return true;
  }

  published(frames: number): void {
    this.#left -= frames;
    if (this.#left <= 0) this.#reached.resolve();
  }

  /** Frees the places of frames that will never be published: dropped ones, and pictures that make no JPEG. */
  dropped(frames: number): void {
    this.#free += frames;
  }
}

export type FrameLimit = ReturnType<typeof frameLimit>;

/** Enforces MAX_FRAMES: each frame needs one of `max` places. @param max `Infinity` for no limit */
export function frameLimit(max: number) {
  let [free, remaining] = [max, max];
  const { promise: reached, resolve } = Promise.withResolvers<void>();
  return {
    /** Resolves once `max` frames are published. */
    reached,
    /** Reserves a place for one frame; false when none is left. */
    take(): boolean {
      if (free <= 0) return false;
      free -= 1;
      return true;
    },
    published(frames: number): void {
      remaining -= frames;
      if (remaining <= 0) resolve();
    },
    /** Frees the places of frames that will never be published: dropped ones, and pictures that make no JPEG. */
    dropped(frames: number): void {
      free += frames;
    },
  };
}

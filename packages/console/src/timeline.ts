import type { Detection } from '@video-pipeline/frame';
import type { Timeline } from './api.ts';

const BUCKET_MS = 10_000;
const KEEP_MS = 6 * 3_600_000;
/** More names than any model of ours has; a bound on memory, not a feature. */
const MAX_CLASSES = 256;
const MAX_BINS = 180;

/** Counts what was seen in one stream by class, for the last six hours, in buckets of 10 s. */
export class ClassCounts {
  /** Start of a bucket -> class name -> detections. */
  readonly #buckets = new Map<number, Map<string, number>>();

  /** @param time when the frame was captured, epoch ms */
  add(time: number, detections: readonly Detection[]): void {
    const start = Math.floor(time / BUCKET_MS) * BUCKET_MS;
    let bucket = this.#buckets.get(start);
    if (!bucket) {
      bucket = new Map();
      this.#buckets.set(start, bucket);
      this.#forget(start - KEEP_MS);
    }
    for (const { class_name } of detections) {
      const before = bucket.get(class_name);
      if (before !== undefined || bucket.size < MAX_CLASSES) bucket.set(class_name, (before ?? 0) + 1);
    }
  }

  /** The `minutes` before `now`, in at most 180 bins. */
  query(now: number, minutes: number): Timeline {
    const span = Math.min(minutes * 60_000, KEEP_MS);
    const binMs = Math.ceil(span / MAX_BINS / BUCKET_MS) * BUCKET_MS;
    const bins = Math.ceil(span / binMs);
    const from = (Math.floor(now / binMs) + 1) * binMs - bins * binMs;
    const classes: Timeline['classes'] = Object.create(null);
    for (const [start, bucket] of this.#buckets) {
      const bin = Math.floor((start - from) / binMs);
      if (bin < 0 || bin >= bins) continue;
      for (const [name, count] of bucket) {
        classes[name] ??= new Array<number>(bins).fill(0);
        classes[name][bin] = (classes[name][bin] ?? 0) + count;
      }
    }
    return { from, bin_ms: binMs, bins, classes };
  }

  #forget(before: number): void {
    for (const start of this.#buckets.keys()) {
      if (start < before) this.#buckets.delete(start);
    }
    // A camera with a wrong clock must not fill the memory with buckets of the future.
    while (this.#buckets.size > KEEP_MS / BUCKET_MS) {
      const [first] = this.#buckets.keys();
      if (first !== undefined) this.#buckets.delete(first);
    }
  }
}

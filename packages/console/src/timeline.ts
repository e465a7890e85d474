import { type Detection, HOUR_MS } from '@video-pipeline/frame';
import type { Timeline } from './api.ts';

export const BUCKET_MS = 10_000;
export const KEEP_MS = 6 * HOUR_MS;
/** More names than any served model has. It only limits memory. */
const MAX_CLASSES = 256;
/** Most counts of one stream in all buckets: six hours of fifteen classes. */
const MAX_COUNTS = 32_768;
const MAX_NAME = 64;
const MAX_BINS = 180;

/** Adds detections of a class at a time, epoch ms. Those out of the timeline's range are left out. */
export function addCount(
  { from, bin_ms, bins, classes }: Timeline,
  time: number,
  name: string,
  count: number,
): void {
  const bin = Math.floor((time - from) / bin_ms);
  if (bin < 0 || bin >= bins) return;
  classes[name] ??= new Array<number>(bins).fill(0);
  classes[name][bin] = (classes[name][bin] ?? 0) + count;
}

/** Counts of one stream's detections by class, for the last six hours, in buckets of 10 s. */
export class ClassCounts {
  /** Start of a bucket -> class name -> detections. */
  readonly #buckets = new Map<number, Map<string, number>>();
  #counts = 0;

  /** @param time capture time of the frame, epoch ms */
  add(time: number, detections: readonly Detection[]): void {
    const start = Math.floor(time / BUCKET_MS) * BUCKET_MS;
    let bucket = this.#buckets.get(start);
    if (!bucket) {
      bucket = new Map();
      this.#buckets.set(start, bucket);
      this.#forget(start - KEEP_MS);
    }
    const classes = bucket.size;
    for (const { class_name } of detections) {
      const name = class_name.slice(0, MAX_NAME);
      const before = bucket.get(name);
      if (before !== undefined || bucket.size < MAX_CLASSES) bucket.set(name, (before ?? 0) + 1);
    }
    this.#counts += bucket.size - classes;
    while (this.#counts > MAX_COUNTS && this.#forgetFirst()) {}
  }

  /** @param start of a bucket, epoch ms @returns whether frames of it were counted */
  has(start: number): boolean {
    return this.#buckets.has(start);
  }

  /** Counts of the `minutes` before `now`, in at most 180 bins. */
  query(now: number, minutes: number): Timeline {
    const span = Math.min(minutes * 60_000, KEEP_MS);
    const binMs = Math.ceil(span / MAX_BINS / BUCKET_MS) * BUCKET_MS;
    const bins = Math.ceil(span / binMs);
    const from = (Math.floor(now / binMs) + 1) * binMs - bins * binMs;
    const timeline: Timeline = { from, bin_ms: binMs, bins, classes: Object.create(null) };
    for (const [start, bucket] of this.#buckets)
      for (const [name, count] of bucket) addCount(timeline, start, name, count);
    return timeline;
  }

  #forget(before: number): void {
    for (const start of this.#buckets.keys()) {
      if (start < before) this.#forgetBucket(start);
    }
    // A camera with a wrong clock must not fill the memory with buckets in the future.
    while (this.#buckets.size > KEEP_MS / BUCKET_MS && this.#forgetFirst()) {}
  }

  #forgetFirst(): boolean {
    const [first] = this.#buckets.keys();
    if (first !== undefined) this.#forgetBucket(first);
    return first !== undefined;
  }

  #forgetBucket(start: number): void {
    this.#counts -= this.#buckets.get(start)?.size ?? 0;
    this.#buckets.delete(start);
  }
}

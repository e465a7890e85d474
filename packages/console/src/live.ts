import { type DetectedFrame, type FrameFacts, factsOf } from '@video-pipeline/frame';
import type { LiveFrame, Percentiles, Timeline } from './api.ts';
import { type CacheLimits, frameCache } from './frame-cache.ts';
import { percentiles } from './percentiles.ts';
import { ClassCounts } from './timeline.ts';

/** Most streams that are not in the list of streams. Without a list, this applies to all streams. */
const MAX_OTHERS = 256;
/** Most bytes of pictures for stepping back: about ten seconds of 16 streams at 10 fps and 80 KB. */
const MAX_PICTURE_BYTES = 128 * 1024 ** 2;
const FPS_WINDOW_MS = 30_000;
/** Most arrival times of a stream: those of a hundred frames a second. */
const MAX_ARRIVALS = 3_000;
/** Number of intervals whose median is the usual interval, as in a scene. */
const INTERVALS = 9;
/** Frames of one batch arrive within this time, milliseconds. */
const BATCH_MS = 1_000;
/** Shortest time span for the rate of a stream that has just begun, milliseconds. */
const MIN_FPS_SPAN_MS = 5_000;
const LATENCY_WINDOW_MS = 30_000;
const MAX_LATENCIES = 8_192;

/** Called for each frame that arrives, with its {@link LiveFrame} as JSON. */
type FrameListener = (streamId: string, json: string) => void;

/** The live streams, in limited memory: recent frames, counts by class, latency of detection. */
export class LiveFrames {
  readonly #cache: ReturnType<typeof frameCache>;
  readonly #counts = new Map<string, ClassCounts>();
  /** Stream id -> arrival times of the last half minute. */
  readonly #arrivals = new Map<string, number[]>();
  readonly #listeners = new Set<FrameListener>();
  #latencies: { at: number; ms: number }[] = [];

  constructor(limits: Partial<CacheLimits> = {}) {
    this.#cache = frameCache({ maxBytes: MAX_PICTURE_BYTES, maxOthers: MAX_OTHERS, ...limits });
  }

  /** @param detectedAt when the detections were published, epoch ms */
  add(frame: DetectedFrame, detectedAt: number, now = Date.now()): void {
    this.#cache.add(frame);
    this.#countClasses(frame);
    this.#latencies.push({ at: now, ms: detectedAt - frame.capturedAt });
    if (this.#latencies.length > MAX_LATENCIES) this.#latencies.splice(0, MAX_LATENCIES / 2);
    this.#noteArrival(frame.streamId, now);
    if (this.#listeners.size === 0) return;
    const json = JSON.stringify(this.#live(frame));
    for (const listener of this.#listeners) listener(frame.streamId, json);
  }

  newest(): LiveFrame[] {
    return this.streams().flatMap((streamId) => {
      const frame = this.newestOf(streamId);
      return frame ? [this.#live(frame)] : [];
    });
  }

  newestOf(streamId: string): DetectedFrame | undefined {
    return this.#cache.of(streamId).at(-1);
  }

  /** The frames of a stream that are still held, oldest first. */
  recent(streamId: string): FrameFacts[] {
    return this.#cache.of(streamId).map(factsOf);
  }

  frame(streamId: string, id: string): DetectedFrame | undefined {
    return this.#cache.get(streamId, id);
  }

  streams(): string[] {
    return this.#cache.streams().sort();
  }

  /** How often an unlisted stream was forgotten, since there were too many. */
  get forgotten(): number {
    return this.#cache.forgotten();
  }

  /** Names of the classes in the detections of the last hours. */
  classes(): string[] {
    const now = Date.now();
    const names = [...this.#counts.values()].flatMap((counts) => Object.keys(counts.query(now, 360).classes));
    return [...new Set(names)].sort();
  }

  /** Usual time between a stream's newest frames, milliseconds. 0 if there are too few, or no recent ones. */
  intervalMs(streamId: string, now = Date.now()): number {
    const times = this.#cache
      .of(streamId)
      .slice(-INTERVALS - 1)
      .map(({ capturedAt }) => capturedAt);
    const gaps = times.slice(1).map((at, index) => at - (times[index] ?? at));
    const usual = gaps.toSorted((a, b) => a - b)[gaps.length >> 1] ?? 0;
    const isLive = now - (this.#arrivals.get(streamId)?.at(-1) ?? 0) < Math.max(FPS_WINDOW_MS, 3 * usual);
    return isLive ? usual : 0;
  }

  timeline(streamId: string, minutes: number, now = Date.now()): Timeline {
    return (this.#counts.get(streamId) ?? new ClassCounts()).query(now, minutes);
  }

  /** Whether the timeline has counts of a stream's bucket that begins then, epoch ms. */
  isCounted(streamId: string, start: number): boolean {
    return this.#counts.get(streamId)?.has(start) === true;
  }

  /** From capture to published detections, over the last 30 s; `null` without frames. */
  latency(now = Date.now()): Percentiles | null {
    this.#latencies = this.#latencies.filter(({ at }) => at > now - LATENCY_WINDOW_MS && at <= now);
    return percentiles(this.#latencies.map(({ ms }) => ms));
  }

  /** @returns a function that ends the subscription */
  subscribe(listener: FrameListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #live(frame: DetectedFrame): LiveFrame {
    const arrivals = this.#arrivals.get(frame.streamId) ?? [];
    const arrivedAt = arrivals.at(-1) ?? 0;
    return { ...factsOf(frame), arrived_at: arrivedAt, fps: rateOf(arrivals) };
  }

  #noteArrival(streamId: string, now: number): void {
    // After the clock was set back, former arrivals are in the future.
    const isRecent = (at: number) => at > now - FPS_WINDOW_MS && at <= now;
    const arrivals = [...(this.#arrivals.get(streamId) ?? []), now].filter(isRecent);
    this.#arrivals.set(streamId, arrivals.slice(-MAX_ARRIVALS));
  }

  #countClasses(frame: DetectedFrame): void {
    let counts = this.#counts.get(frame.streamId);
    if (!counts) {
      counts = new ClassCounts();
      this.#counts.set(frame.streamId, counts);
      this.#forgetStreams();
    }
    counts.add(frame.capturedAt, frame.detections);
  }

  // Streams that the cache has forgotten are forgotten here, too. Otherwise invented ids would fill the memory.
  #forgetStreams(): void {
    const known = new Set(this.#cache.streams());
    for (const map of [this.#counts, this.#arrivals]) {
      for (const streamId of map.keys()) if (!known.has(streamId)) map.delete(streamId);
    }
  }
}

/** Frames a second of a stream whose frames arrive in batches: frames after the first batch, divided by their time. */
function rateOf(arrivals: readonly number[]): number {
  const [first = 0] = arrivals;
  const last = arrivals.at(-1) ?? first;
  if (last - first < MIN_FPS_SPAN_MS) return arrivals.length / (MIN_FPS_SPAN_MS / 1000);
  const firstBatch = arrivals.filter((at) => at <= first + BATCH_MS);
  return (arrivals.length - firstBatch.length) / ((last - (firstBatch.at(-1) ?? first)) / 1000);
}

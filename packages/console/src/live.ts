import { type DetectedFrame, type FrameFacts, factsOf } from '@video-pipeline/frame';
import type { LiveFrame, Percentiles, Timeline } from './api.ts';
import { FrameCache } from './frame-cache.ts';
import { percentiles } from './percentiles.ts';
import { ClassCounts } from './timeline.ts';

/** Streams that the list of streams doesn't have; a console without such a list knows of none but these. */
const MAX_OTHERS = 256;
/** Pictures held for stepping back: about ten seconds of 16 streams at 10 fps and 80 KB. */
const MAX_PICTURE_BYTES = 128 * 1024 ** 2;
const FPS_WINDOW_MS = 30_000;
/** Of a hundred frames a second. */
const MAX_ARRIVALS = 3_000;
/** Intervals that the usual one is the median of, as a scene takes it. */
const INTERVALS = 9;
/** Frames of one batch arrive within it. */
const BATCH_MS = 1_000;
/** The rate of a stream that has only just begun is taken over so long. */
const MIN_FPS_SPAN_MS = 5_000;
const LATENCY_WINDOW_MS = 30_000;
const MAX_LATENCIES = 8_192;

/** Called for each frame as it arrives, with its {@link LiveFrame} already as JSON. */
export type FrameListener = (streamId: string, json: string) => void;

export interface LiveOptions {
  maxPictureBytes?: number;
  /** Most streams that aren't listed. */
  maxOthers?: number;
  /** Whether the list of streams has a stream: then it is kept, however many others come. */
  isListed?: (streamId: string) => boolean;
}

/** The streams as they happen, in bounded memory: recent frames, counts by class, latency of detection. */
export class LiveFrames {
  readonly #cache: FrameCache;
  readonly #counts = new Map<string, ClassCounts>();
  /** Stream id -> arrival times up to the newest, of half a minute. */
  readonly #arrivals = new Map<string, number[]>();
  readonly #listeners = new Set<FrameListener>();
  #latencies: { at: number; ms: number }[] = [];

  constructor(options: LiveOptions = {}) {
    const { maxPictureBytes = MAX_PICTURE_BYTES, maxOthers = MAX_OTHERS, isListed } = options;
    this.#cache = new FrameCache(maxPictureBytes, maxOthers, isListed);
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

  /** Each stream's newest frame. */
  newest(): LiveFrame[] {
    return this.streams().flatMap((streamId) => {
      const frame = this.#cache.of(streamId).at(-1);
      return frame ? [this.#live(frame)] : [];
    });
  }

  /** What is still known of a stream's last frames, oldest first. */
  recent(streamId: string): FrameFacts[] {
    return this.#cache.of(streamId).map(factsOf);
  }

  frame(streamId: string, id: string): DetectedFrame | undefined {
    return this.#cache.get(streamId, id);
  }

  streams(): string[] {
    return this.#cache.streams().sort();
  }

  /** How often a stream that isn't listed was forgotten, as there were too many. */
  get forgotten(): number {
    return this.#cache.forgotten;
  }

  /** Names of the classes seen in the last hours. */
  classes(): string[] {
    const now = Date.now();
    const names = [...this.#counts.values()].flatMap((counts) => Object.keys(counts.query(now, 360).classes));
    return [...new Set(names)].sort();
  }

  /** Usual time between a stream's newest frames, milliseconds; 0 where too few came, or none of late. */
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

  /** When the timeline of a stream begins to know of it, epoch ms. */
  countedSince(streamId: string): number {
    return this.#counts.get(streamId)?.since ?? Number.POSITIVE_INFINITY;
  }

  /** From capture to published detections, over the last 30 s; `null` when none came. */
  latency(now = Date.now()): Percentiles | null {
    this.#latencies = this.#latencies.filter(({ at }) => at > now - LATENCY_WINDOW_MS);
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
    const arrivals = this.#arrivals.get(streamId) ?? [];
    arrivals.push(now);
    arrivals.splice(
      0,
      Math.max(
        arrivals.length - MAX_ARRIVALS,
        arrivals.findIndex((at) => at > now - FPS_WINDOW_MS),
      ),
    );
    this.#arrivals.set(streamId, arrivals);
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

  // What the cache has forgotten is forgotten here too, or ids made up without end would fill the memory.
  #forgetStreams(): void {
    const known = new Set(this.#cache.streams());
    for (const map of [this.#counts, this.#arrivals]) {
      for (const streamId of map.keys()) if (!known.has(streamId)) map.delete(streamId);
    }
  }
}

/** Frames a second of a stream whose frames arrive a batch at a time: those after the first batch, by the time since. */
function rateOf(arrivals: readonly number[]): number {
  const [first = 0] = arrivals;
  const last = arrivals.at(-1) ?? first;
  if (last - first < MIN_FPS_SPAN_MS) return arrivals.length / (MIN_FPS_SPAN_MS / 1000);
  const firstBatch = arrivals.filter((at) => at <= first + BATCH_MS);
  return (arrivals.length - firstBatch.length) / ((last - (firstBatch.at(-1) ?? first)) / 1000);
}

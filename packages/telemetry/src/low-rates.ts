import type { PartHealth } from './health.ts';

type Parts = Readonly<Record<string, PartHealth>>;

/**
 * How long a stream is reported after its last frames that were too far apart: this many ms, or intervals if longer.
 */
const REPORTED = { ms: 60_000, intervals: 3 };

/** Streams whose frames are too far apart for tracking, by the metric `SparseInterval`. */
export class LowRates {
  readonly #streams = new Map<string, { intervalMs: number; until: number }>();

  /** @param intervalMs usual time between two frames */
  add(stream: string, intervalMs: number, now = performance.now()): void {
    const until = now + Math.max(REPORTED.ms, REPORTED.intervals * intervalMs);
    this.#streams.set(stream, { intervalMs, until });
  }

  /** Frames a second of each such stream. */
  current(now = performance.now()): Record<string, number> {
    for (const [stream, { until }] of this.#streams) if (until < now) this.#streams.delete(stream);
    return Object.fromEntries([...this.#streams].map(([stream, one]) => [stream, rateOf(one.intervalMs)]));
  }
}

/** Frames a second, to two digits. */
export function rateOf(intervalMs: number): number {
  return Number((1000 / intervalMs).toPrecision(2));
}

/** Streams named in {@link lowRateNote}. */
const MAX_NAMED = 5;

/** The state of each part, detect's with a note on the streams of low rates. */
export function withLowRates(parts: Parts, rates: Readonly<Record<string, number>>): Parts {
  const note = lowRateNote(rates);
  return parts.detect && note ? { ...parts, detect: { ...parts.detect, note } } : parts;
}

/** One line about streams of low rates; `undefined` without any. */
export function lowRateNote(rates: Readonly<Record<string, number>>): string | undefined {
  const all = Object.entries(rates).map(([stream, rate]) => `${stream} (${rate} frames/s)`);
  if (all.length === 0) return undefined;
  const rest = all.length > MAX_NAMED ? ` and ${all.length - MAX_NAMED} more` : '';
  return `too few frames for tracks and events of ${all.slice(0, MAX_NAMED).join(', ')}${rest}; raise FRAME_RATE`;
}

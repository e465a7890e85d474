/** A segment of a media playlist with its time of capture (RFC 8216, 4.3.2.6). */
export interface DatedSegment {
  /** Time of capture of its first picture, epoch milliseconds. */
  date: number;
  /** Seconds. */
  duration: number;
}

/**
 * The dated segments of a media playlist by absolute URL, from the first one with a date on. Segments that are parts of
 * one file have the same URL and are left out.
 * @param base URL of the list
 */
export function datedSegments(list: string, base: string): Map<string, DatedSegment> {
  const segments = new Map<string, DatedSegment>();
  const parts = new Set<string>();
  let date = Number.NaN;
  let duration = Number.NaN;
  for (const line of list.split(/\r?\n/)) {
    const [, tag, value = ''] =
      /^#(EXTINF|EXT-X-PROGRAM-DATE-TIME|EXT-X-DISCONTINUITY$):? *(.*)/.exec(line) ?? [];
    if (tag === 'EXTINF') duration = Number.parseFloat(value);
    else if (tag === 'EXT-X-PROGRAM-DATE-TIME') date = Date.parse(value.trim());
    else if (tag === 'EXT-X-DISCONTINUITY') date = Number.NaN;
    else if (line !== '' && !line.startsWith('#')) {
      const url = URL.parse(line.trim(), base)?.href ?? '';
      if (parts.has(url)) segments.delete(url);
      else if (!Number.isNaN(date)) segments.set(url, { date, duration });
      parts.add(url);
      date += duration * 1000;
    }
  }
  return segments;
}

/** Tolerance for inexact durations in a list, seconds. */
const TOLERANCE = 0.3;

/** Finds the time of capture of pictures from the dates of requested segments. FFmpeg requests segments ahead. */
export class SegmentClock {
  readonly #ahead: DatedSegment[] = [];
  #asked: DatedSegment | undefined;
  #last = Number.POSITIVE_INFINITY;
  #current: { start: number; duration: number; offset: number } | undefined;

  asked(segment: DatedSegment): void {
    // Variants of one stream are requested in parallel, and a clock may be set back.
    const isSame = ({ date }: DatedSegment) => Math.abs(date - segment.date) < segment.duration * 500;
    if (this.#ahead.some(isSame) || (this.#asked && isSame(this.#asked))) return;
    this.#ahead.push(segment);
    this.#asked = segment;
  }

  /**
   * @param time presentation time of a key frame, seconds, in order
   * @returns wall clock minus presentation time, milliseconds; undefined if no list had a date
   */
  offsetAt(time: number): number | undefined {
    const since = time - (this.#current?.start ?? Number.NaN);
    const isInside = time > this.#last && since < (this.#current?.duration ?? 0) - TOLERANCE;
    this.#last = time;
    if (isInside) return this.#current?.offset;
    const next = this.#ahead.shift();
    if (next) this.#current = { start: time, duration: next.duration, offset: next.date - time * 1000 };
    return this.#current?.offset;
  }
}

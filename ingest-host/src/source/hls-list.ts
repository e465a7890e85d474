/** A segment of a media playlist with its time of capture (RFC 8216, 4.3.2.6). */
export interface DatedSegment {
  /** Time of capture of its first picture, epoch milliseconds. */
  date: number;
  /** Seconds. */
  duration: number;
}

/**
 * The segments of a media playlist with a date, by absolute URL. Segments without a date of their own follow the date
 * before them, or precede the first one, by their durations (RFC 8216, 6.3.3). Segments that are parts of one file have
 * the same URL and are left out.
 * @param base URL of the list
 */
export function datedSegments(list: string, base: string): Map<string, DatedSegment> {
  const all: (DatedSegment & { url: string })[] = [];
  let date = Number.NaN;
  let duration = Number.NaN;
  for (const line of list.split(/\r?\n/)) {
    const [, tag, value = ''] = /^#(EXTINF|EXT-X-PROGRAM-DATE-TIME):? *(.*)/.exec(line) ?? [];
    if (tag === 'EXTINF') duration = Number.parseFloat(value);
    else if (tag) date = Date.parse(value.trim()) || date;
    else if (line !== '' && !line.startsWith('#')) {
      all.push({ url: URL.parse(line.trim(), base)?.href ?? '', date, duration });
      date += duration * 1000;
    }
  }
  const first = all.findIndex((segment) => !Number.isNaN(segment.date));
  let before = all[first]?.date ?? Number.NaN;
  for (const segment of all.slice(0, Math.max(0, first)).reverse()) {
    before -= segment.duration * 1000;
    segment.date = before;
  }
  const byUrl = Map.groupBy(all, ({ url }) => url);
  const dated = all.filter(({ url, date }) => byUrl.get(url)?.length === 1 && !Number.isNaN(date));
  return new Map(dated.map(({ url, ...segment }) => [url, segment]));
}

/** Finds lists whose segments are counted from the start again: FFmpeg would wait until its next number has come. */
export class MediaSequences {
  readonly #first = new Map<string, number>();

  /** @param url of the list @returns whether all its segments are older than those before; some are in a late copy */
  restarts(list: string, url: string): boolean {
    const number = Number(/^#EXT-X-MEDIA-SEQUENCE: *(\d+)/m.exec(list)?.[1] ?? 0);
    const before = this.#first.get(url) ?? 0;
    this.#first.set(url, Math.max(number, before));
    return number + list.split('#EXTINF').length - 1 < before;
  }
}

/** Tolerance for inexact durations in a list, seconds. */
const TOLERANCE = 0.3;

/** Finds the time of capture of pictures from the dates of requested segments. FFmpeg requests segments ahead. */
export class SegmentClock {
  readonly #ahead: DatedSegment[] = [];
  #requested: DatedSegment | undefined;
  #last = Number.POSITIVE_INFINITY;
  #current: { start: number; duration: number; offset: number } | undefined;

  requested(segment: DatedSegment): void {
    // Variants of one stream are requested in parallel, and a clock may be set back.
    const isSame = ({ date }: DatedSegment) => Math.abs(date - segment.date) < segment.duration * 500;
    if (this.#ahead.some(isSame) || (this.#requested && isSame(this.#requested))) return;
    this.#ahead.push(segment);
    this.#requested = segment;
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

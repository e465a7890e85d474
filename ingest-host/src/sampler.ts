/** Sampling by presentation time: which pictures of a stream to keep, so that they are evenly spaced. */

/** Presentation times are rounded by the container's clock; a picture so little early is on time, seconds. */
const TOLERANCE = 0.002;
/** Pictures over which the source's own interval is measured. */
const WINDOW = 50;
/** Pictures at either end of a window that may belong to the next one: B-frames come after what they precede. */
const REORDERED = 8;
/** A longer step than this, or one back, is a clock that was set, not a picture that was late, seconds. */
const MAX_STEP = 10;

/**
 * Keeps the first picture at or after each point of a grid of `1 / rate` seconds. A source that gives fewer pictures
 * than `rate` has all of them kept. Intervals between kept pictures differ from even by less than one source interval.
 */
export class Sampler {
  readonly #rate: number;
  #origin: number | undefined;
  #last = 0;
  /** Number of the next grid point, counted from the origin. */
  #next = 0;
  /** Longest interval of the source of late, seconds; unknown before one window of pictures. */
  #interval: number | undefined;
  #window: number[] = [];

  /** @param rate pictures a second */
  constructor(rate: number) {
    this.#rate = rate;
  }

  /** @param time presentation time, seconds, in presentation order */
  keep(time: number): boolean {
    if (this.#origin === undefined || time < this.#last || time > this.#last + MAX_STEP) {
      this.#origin = time;
      this.#next = 0;
    }
    this.#last = time;
    const point = (time - this.#origin + TOLERANCE) * this.#rate;
    if (point < this.#next) return false;
    this.#next = Math.floor(point) + 1;
    return true;
  }

  /**
   * Whether {@link Sampler.keep} may want a picture that is yet to be decoded. False when no grid point lies near
   * enough before it: then it need not be decoded, unless others build on it.
   * @param time presentation time, seconds, in decoding order; ask for every picture of the source
   */
  mayKeep(time: number): boolean {
    this.#measure(time);
    if (this.#interval === undefined || this.#origin === undefined) return true;
    const since = time - this.#origin;
    const before = Math.floor((since - this.#interval - TOLERANCE) * this.#rate);
    return Math.floor((since + TOLERANCE) * this.#rate) > before;
  }

  #measure(time: number): void {
    if (Math.abs(time - (this.#window.at(-1) ?? time)) > MAX_STEP) {
      this.#window = [];
      this.#interval = undefined;
    }
    this.#window.push(time);
    if (this.#window.length < WINDOW) return;
    const times = this.#window.sort((one, other) => one - other).slice(REORDERED, -REORDERED);
    this.#interval = Math.max(...times.slice(1).map((later, index) => later - (times[index] ?? 0)));
    this.#window = [];
  }
}

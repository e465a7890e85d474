/** Sampling by presentation time: which pictures of a stream to keep, so that they are evenly spaced. */

/** Presentation times are rounded by the container's clock; a picture so little early is on time, seconds. */
const TOLERANCE = 0.002;
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
}

/** A picture that is early by less than this counts as on time, seconds: containers round presentation times. */
const TOLERANCE = 0.002;
/** Pictures over which the source's own interval is measured. */
const WINDOW = 50;
/** Pictures at each end of a window that may belong to its neighbour: B-frames are decoded after later pictures. */
const REORDERED = 8;
/** A longer step means that the clock was set, not that a picture was late; seconds. */
const MAX_STEP = 10;
/** So does a longer step back. Inexact clocks step back by less. A live stream may restart at 0 every second. */
const MAX_BACK = 0.5;
/** More pictures in a row than this that are behind the latest one are not late: the clock was set back by little. */
const MAX_BEHIND = 4;

/**
 * Keeps the first picture at or after each point of a grid of `1 / rate` seconds. Of a source with fewer pictures than
 * `rate` it keeps all. Intervals between kept pictures differ from `1 / rate` by less than one source interval.
 */
export class Sampler {
  readonly #rate: number;
  #origin: number | undefined;
  /** The latest time. */
  #last = 0;
  /** Pictures in a row that are behind it. */
  #behind = 0;
  /** Number of the next grid point, counted from the origin. */
  #next = 0;
  /** Longest interval in the source's last window, seconds; unknown before the first window is full. */
  #interval: number | undefined;
  #window: number[] = [];

  /** @param rate pictures a second */
  constructor(rate: number) {
    this.#rate = rate;
  }

  /** @param time presentation time, seconds, in presentation order */
  keep(time: number): boolean {
    this.#behind = time < this.#last ? this.#behind + 1 : 0;
    const isSet = this.#behind > MAX_BEHIND || time < this.#last - MAX_BACK || time > this.#last + MAX_STEP;
    if (this.#origin === undefined || isSet) {
      this.#origin = this.#last = time;
      this.#next = this.#behind = 0;
    }
    this.#last = Math.max(this.#last, time);
    const point = (time - this.#origin + TOLERANCE) * this.#rate;
    if (point < this.#next) return false;
    this.#next = Math.floor(point) + 1;
    return true;
  }

  /**
   * Whether {@link Sampler.keep} may keep a picture that is not decoded yet. A picture is kept only if a grid point
   * lies between it and the picture before. Any other need not be decoded, unless other pictures refer to it.
   * @param time presentation time, seconds, in decoding order; must be called for every picture of the source. NaN
   *   without a time: it may be kept
   */
  mayKeep(time: number): boolean {
    if (Number.isNaN(time)) return true;
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

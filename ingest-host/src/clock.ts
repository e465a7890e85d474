import { isPossibleTime } from '@video-pipeline/frame';

/** A camera's clock that is off by more, milliseconds, counts as not set: the time of arrival is more accurate. */
const MAX_DELAY_MS = 10_000;
const MAX_AHEAD_MS = 500;
/**
 * Presentation times go back a little when pictures are late. A larger step back means that the source restarted; a
 * larger step ahead of the time of arrival, that its clock was set or is wrong.
 */
const MAX_STEP_MS = 1_000;
/** Speed of a clock that is ahead, as a share of real time, until it is right again. */
const SLEWING = 0.25;

/**
 * Whether a time of a camera's clock is plausible.
 * @param claimed time of capture by the camera's clock, epoch milliseconds
 * @param arrival time of arrival of the picture, epoch milliseconds
 * @param maxDelayMs longest plausible time from capture to arrival
 */
export function isPlausible(claimed: number, arrival: number, maxDelayMs = MAX_DELAY_MS): boolean {
  return claimed > arrival - maxDelayMs && claimed < arrival + MAX_AHEAD_MS;
}

/**
 * Computes when pictures of one stream were captured, epoch milliseconds. It uses the camera's clock if RTCP sender
 * reports give it (RFC 3550, 6.4.1) and it is plausible, and otherwise the time of arrival. For a file it adds the
 * picture's position to the file's start. If the correct time is behind the last one, the clock runs slowly until the
 * correct time has caught up. It steps back only if the host's clock was set back by more than a camera's may be off.
 */
export class CaptureClock {
  /** Wall clock minus presentation time. */
  #offset: number | undefined;
  #fileStart: number | undefined;
  #maxDelayMs = MAX_DELAY_MS;
  #firstTime: number | undefined;
  #lastTime = Number.NEGATIVE_INFINITY;
  #lastArrival = Number.NEGATIVE_INFINITY;
  #last = 0;

  /**
   * Forgets the clock of the former source. Called when a source is opened.
   * @param fileStart for a file: time of capture of its first picture, epoch milliseconds
   * @param maxDelayMs longest plausible time from capture to arrival
   */
  restart(fileStart?: number, maxDelayMs = MAX_DELAY_MS): void {
    this.#offset = undefined;
    this.#maxDelayMs = maxDelayMs;
    this.#fileStart = fileStart;
    this.#firstTime = undefined;
    this.#lastTime = Number.NEGATIVE_INFINITY;
    // A file may be older than the former source.
    if (fileStart !== undefined) this.#last = 0;
  }

  /**
   * Reports that the camera captured the picture of presentation time `time` at `wallClock`.
   * @param time presentation time, milliseconds
   * @param wallClock epoch milliseconds; ignored if it is that of a clock that was not set
   */
  report(time: number, wallClock: number): void {
    if (!isPossibleTime(wallClock)) return;
    const offset = wallClock - time;
    // After a clock was set, slewing begins with the next picture.
    if (Math.abs(offset - (this.#offset ?? offset)) > 1 || this.#wentBack(time)) this.#lastTime = time;
    this.#offset = offset;
  }

  /**
   * @param time presentation time, milliseconds
   * @param arrival epoch milliseconds
   */
  capturedAt(time: number, arrival: number): number {
    if (this.#wentBack(time)) this.#offset = undefined;
    const passed = Math.max(0, Math.min(time - this.#lastTime, MAX_DELAY_MS));
    // A single picture with a time far ahead must not move the clock ahead.
    const isAhead = this.#fileStart === undefined && passed > arrival - this.#lastArrival + MAX_STEP_MS;
    [this.#lastTime, this.#lastArrival] = [time, arrival];
    this.#firstTime ??= time;
    const right = Math.round(this.#right(time, arrival));
    const slewed = this.#last + (isAhead ? 0 : Math.round(passed * SLEWING));
    // A large step back is taken at once: slewing would give all frames nearly the same time for minutes or hours.
    this.#last = right < slewed - MAX_DELAY_MS - MAX_AHEAD_MS ? right : Math.max(right, slewed);
    return this.#last;
  }

  #right(time: number, arrival: number): number {
    const claimed = time + (this.#offset ?? Number.NaN);
    if (this.#fileStart !== undefined) {
      return Number.isNaN(claimed) ? this.#fileStart + time - (this.#firstTime ?? time) : claimed;
    }
    return isPlausible(claimed, arrival, this.#maxDelayMs) ? claimed : arrival;
  }

  #wentBack(time: number): boolean {
    return time < this.#lastTime - MAX_STEP_MS;
  }
}

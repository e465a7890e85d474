/** A camera's clock further off than this, milliseconds, is not set, and arrival is nearer the truth. */
const MAX_DELAY_MS = 10_000;
const MAX_AHEAD_MS = 500;
/** Presentation times go back a little where pictures are late, and by more where a source has started anew. */
const MAX_STEP_BACK_MS = 1_000;
/** Part of real time that a clock which is ahead goes on with, until it is right. */
const SLEWING = 0.25;

/**
 * Whether a camera's clock may be believed.
 * @param claimed when it says that a picture was captured, epoch milliseconds
 * @param arrival when the picture arrived, epoch milliseconds
 * @param maxDelayMs how long it may have been on its way
 */
export function isPlausible(claimed: number, arrival: number, maxDelayMs = MAX_DELAY_MS): boolean {
  return claimed > arrival - maxDelayMs && claimed < arrival + MAX_AHEAD_MS;
}

/**
 * When pictures of one stream were captured, epoch milliseconds: by the camera's own clock where its RTCP sender
 * reports give it (RFC 3550, 6.4.1) and it is plausible, else when they arrived; of a file, its start and their place
 * in it. Where a better clock is behind the last one, it goes on slowly until that has caught up. It goes back only where
 * this host's clock was set back, by more than any camera's may be off.
 */
export class CaptureClock {
  /** Wall clock minus presentation time. */
  #offset: number | undefined;
  #fileStart: number | undefined;
  #maxDelayMs = MAX_DELAY_MS;
  #firstTime: number | undefined;
  #lastTime = Number.NEGATIVE_INFINITY;
  #last = 0;

  /**
   * The source was opened: what was known of its clock counts no more.
   * @param fileStart of a file: when its first picture was captured, epoch milliseconds
   * @param maxDelayMs how long its pictures may have been on their way
   */
  restart(fileStart?: number, maxDelayMs = MAX_DELAY_MS): void {
    this.#offset = undefined;
    this.#maxDelayMs = maxDelayMs;
    this.#fileStart = fileStart;
    this.#firstTime = undefined;
    this.#lastTime = Number.NEGATIVE_INFINITY;
    // A file that is older than what came before is not to be late for it.
    if (fileStart !== undefined) this.#last = 0;
  }

  /**
   * The camera says that what it presents at `time` was captured at `wallClock`.
   * @param time presentation time, milliseconds
   * @param wallClock epoch milliseconds
   */
  report(time: number, wallClock: number): void {
    const offset = wallClock - time;
    // Slewing begins with the picture after a clock that was set.
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
    this.#lastTime = time;
    this.#firstTime ??= time;
    const right = Math.round(this.#right(time, arrival));
    const slewed = this.#last + Math.round(passed * SLEWING);
    // Frames that wait for the former time to come again would all have nearly one time, for minutes or hours.
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
    return time < this.#lastTime - MAX_STEP_BACK_MS;
  }
}

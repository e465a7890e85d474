/** A camera's clock further off than this, milliseconds, is not set, and arrival is nearer the truth. */
const MAX_DELAY_MS = 10_000;
const MAX_AHEAD_MS = 500;

/**
 * Whether a camera's clock may be believed.
 * @param claimed when it says that a picture was captured, epoch milliseconds
 * @param arrival when the picture arrived, epoch milliseconds
 */
export function isPlausible(claimed: number, arrival: number): boolean {
  return claimed > arrival - MAX_DELAY_MS && claimed < arrival + MAX_AHEAD_MS;
}

/**
 * When pictures of one stream were captured, epoch milliseconds: by the camera's own clock where its RTCP sender
 * reports give it (RFC 3550, 6.4.1) and it is plausible, else when they arrived. Never goes back.
 */
export class CaptureClock {
  #offset: number | undefined;
  #last = 0;

  /**
   * The camera says that what it presents at `time` was captured at `wallClock`.
   * @param time presentation time, milliseconds
   * @param wallClock epoch milliseconds
   */
  report(time: number, wallClock: number): void {
    this.#offset = wallClock - time;
  }

  /**
   * @param time presentation time, milliseconds
   * @param arrival epoch milliseconds
   */
  capturedAt(time: number, arrival: number): number {
    const claimed = time + (this.#offset ?? Number.NaN);
    this.#last = Math.max(this.#last, Math.round(isPlausible(claimed, arrival) ? claimed : arrival));
    return this.#last;
  }
}

/**
 * Detects a source that sends packets but gives no picture, or only pictures with the same time. Key frames may be
 * rare, or the camera's clock may stand still. Reopening such a source would not help.
 */
export class PictureWatch {
  readonly #milliseconds: number;
  readonly #onWait: (reason: string) => void;
  #since = performance.now();
  #time = Number.NaN;
  #packets = 0;
  #pictures = 0;

  /** @param onWait called with the reason, each time that this has lasted `seconds` */
  constructor(seconds: number, onWait: (reason: string) => void) {
    this.#milliseconds = seconds * 1000;
    this.#onWait = onWait;
  }

  /** Reports a coded picture. @param awaited what the decoder waits for */
  packet(awaited: string): void {
    // The time before the first packet does not count: the pipeline may have been full.
    if (this.#packets === 0) this.#since = performance.now();
    this.#packets += 1;
    const waited = performance.now() - this.#since;
    if (waited < this.#milliseconds) return;
    const seconds = Math.round(waited / 1000);
    const packets = `${this.#packets} packets came in ${seconds} s`;
    this.#onWait(
      this.#pictures > 0
        ? `${packets}, all with the same time: its clock stands still`
        : `${packets}, but not ${awaited}`,
    );
    this.#begin();
  }

  /** @param time presentation time, seconds */
  picture(time: number): void {
    this.#pictures += 1;
    if (time !== this.#time) this.#begin();
    this.#time = time;
  }

  #begin(): void {
    this.#packets = 0;
    this.#pictures = 0;
  }
}

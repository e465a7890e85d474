/**
 * Notices that a source which goes on sending gives no picture, or pictures of one time only: a key frame is rare, or a
 * camera's clock stands. Opening such a source again would not help.
 */
export class Patience {
  readonly #milliseconds: number;
  readonly #tell: (reason: string) => void;
  #since = performance.now();
  #time = Number.NaN;
  #packets = 0;
  #pictures = 0;

  /** @param tell called each time that it has lasted so many seconds, with what is waited for */
  constructor(seconds: number, tell: (reason: string) => void) {
    this.#milliseconds = seconds * 1000;
    this.#tell = tell;
  }

  /** A coded picture has come. @param awaited what may make it a picture */
  packet(awaited: string): void {
    this.#packets += 1;
    const waited = performance.now() - this.#since;
    if (waited < this.#milliseconds) return;
    const seconds = Math.round(waited / 1000);
    const packets = `${this.#packets} packets came in ${seconds} s`;
    this.#tell(
      this.#pictures > 0
        ? `${packets}, all of one time: its clock stands still`
        : `${packets}, and not ${awaited}`,
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
    this.#since = performance.now();
    this.#packets = 0;
    this.#pictures = 0;
  }
}

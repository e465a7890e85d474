/** Seconds that a fallback is read before the first URL is tried again. */
const DEFAULT_SECONDS = 60;

/** Which of a stream's URLs is read: the first that gives pictures, in their order. */
export class Failover {
  readonly #urls: readonly string[];
  readonly #seconds: number;
  #at = 0;

  /** @param seconds that a fallback is read before the first URL is tried again */
  constructor(url: string, fallback: readonly string[] = [], seconds = DEFAULT_SECONDS) {
    this.#urls = [url, ...fallback];
    this.#seconds = seconds;
  }

  get url(): string {
    return this.#urls[this.#at] ?? '';
  }

  /** Which fallback it is, from 1; undefined while it is the first URL. */
  get fallback(): number | undefined {
    return this.#at === 0 ? undefined : this.#at;
  }

  /**
   * The URL broke off. One that gave pictures is opened again, for most breaks are short; after another comes the next.
   * @returns whether that one has not been tried yet in this round
   */
  next(gavePictures: boolean): boolean {
    if (gavePictures) return false;
    this.#at = (this.#at + 1) % this.#urls.length;
    return this.#at > 0;
  }

  /**
   * While a fallback is read, sees now and then whether the first URL is back, and goes back to it.
   * @param isBack opens the first URL
   * @param goBack called once it is
   * @returns how to end that
   */
  watch(isBack: (url: string) => Promise<boolean>, goBack: () => void): () => void {
    const [first] = this.#urls;
    if (this.#at === 0 || first === undefined) return () => {};
    let timer: NodeJS.Timeout;
    let ended = false;
    const again = () => {
      timer = setTimeout(async () => {
        const back = await isBack(first);
        if (ended) return;
        if (!back) return again();
        this.#at = 0;
        goBack();
      }, this.#seconds * 1000);
    };
    again();
    return () => {
      ended = true;
      clearTimeout(timer);
    };
  }
}

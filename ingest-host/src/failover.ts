import type { Source } from './source/source.ts';
import { SourceError } from './source/source-error.ts';

const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 10_000;
/** Wait after an error that only a person can mend, such as a wrong password: cameras lock out who tries too often. */
const PERMANENT_RETRY_MS = 30_000;

/** Longest wait for a picture of the first URL while a fallback is read. */
const MAX_TRY_MS = 20_000;
/** Seconds that a fallback is read before the first URL is tried again. */
const DEFAULT_SECONDS = 60;

type Open = (url: string, signal: AbortSignal) => Promise<Source>;

/** Which of a stream's URLs is read, and when: in their order, the first that gives pictures. */
export class Failover {
  readonly #urls: readonly [string, ...string[]];
  readonly #seconds: number;
  #at = 0;
  #failures = 0;
  /** When the first URL is tried beside a fallback, as `performance.now` tells it; kept however often the fallback breaks off. */
  #firstDue = 0;
  /** Until then it is left alone, as only a person can mend it. */
  #refusedUntil = 0;

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
   * @param permanent only a person can mend it
   * @returns when to open it, milliseconds from now
   */
  next(gavePictures: boolean, permanent: boolean): number {
    this.#failures = gavePictures ? 1 : this.#failures + 1;
    const wait = retryDelay(this.#failures, permanent);
    if (gavePictures) return wait;
    const now = performance.now();
    if (this.#at === 0) {
      this.#refusedUntil = permanent ? now + wait : 0;
      this.#firstDue = Math.max(this.#refusedUntil, now + this.#seconds * 1000);
    }
    this.#at = (this.#at + 1) % this.#urls.length;
    return this.#at === 0 ? Math.max(wait, this.#refusedUntil - now) : 0;
  }

  /**
   * While a fallback is read, sees now and then whether the first URL gives a picture, and then goes back to it.
   * @param goBack called once it does
   * @returns how to end that
   */
  watch(open: Open, goBack: () => void): () => void {
    if (this.#at === 0) return () => {};
    const ending = new AbortController();
    let timer: NodeJS.Timeout;
    const again = () => {
      timer = setTimeout(tryFirst, Math.max(0, this.#firstDue - performance.now()));
    };
    const tryFirst = async () => {
      this.#firstDue = performance.now() + this.#seconds * 1000;
      const seen = await lookAt(open, this.#urls[0], ending.signal);
      if (ending.signal.aborted) return;
      if (seen === 'refused') this.#firstDue = this.#refusedUntil = performance.now() + retryDelay(1, true);
      if (seen !== 'picture') return again();
      this.#at = 0;
      goBack();
    };
    again();
    return () => {
      ending.abort();
      clearTimeout(timer);
    };
  }
}

/** @returns whether the URL gives a picture now; `refused` where only a person can mend that it does not */
async function lookAt(open: Open, url: string, ending: AbortSignal): Promise<'picture' | 'none' | 'refused'> {
  const signal = AbortSignal.any([ending, AbortSignal.timeout(MAX_TRY_MS)]);
  let source: Source | undefined;
  try {
    source = await open(url, signal);
    return (await source.pictures().next()).done ? 'none' : 'picture';
  } catch (error) {
    return error instanceof SourceError && error.permanent ? 'refused' : 'none';
  } finally {
    await source?.close().catch(() => {});
  }
}

/** Doubles from half a second to ten, with jitter, so that cameras behind one switch don't all come back at once. */
function retryDelay(failures: number, permanent: boolean): number {
  const base = permanent ? PERMANENT_RETRY_MS : Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** (failures - 1));
  return Math.round(base * (0.75 + Math.random() * 0.5));
}

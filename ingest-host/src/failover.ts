import type { Source } from './source/source.ts';
import { SourceError } from './source/source-error.ts';

const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 10_000;
/** Wait after an error that only a person can fix, a wrong password for example: cameras lock out frequent attempts. */
const PERMANENT_RETRY_MS = 30_000;

/** Longest wait for a picture when the first URL is tried while a fallback is read. */
const MAX_TRY_MS = 20_000;
/** Seconds that a fallback is read before the first URL is tried again. */
const DEFAULT_SECONDS = 60;

type Open = (url: string, signal: AbortSignal) => Promise<Source>;

/** One of a stream's URLs, with its backoff. */
interface Candidate {
  url: string;
  failures: number;
  /** Earliest time of the next attempt, by `performance.now`. */
  notBefore: number;
}

/** Chooses which of a stream's URLs is read, and when: the first one, in their order, that gives pictures. */
export class Failover {
  readonly #first: Candidate;
  readonly #all: readonly Candidate[];
  readonly #seconds: number;
  /** The same for all URLs, so that URLs with equally many failures are due in their order. */
  readonly #jitter = 0.75 + Math.random() * 0.5;
  #current: Candidate;
  /** When the first URL is tried while a fallback is read, by `performance.now`. Failures of the fallback keep it. */
  #firstDue = 0;

  /** @param seconds that a fallback is read before the first URL is tried again */
  constructor(url: string, fallback: readonly string[] = [], seconds = DEFAULT_SECONDS) {
    const candidateOf = (one: string): Candidate => ({ url: one, failures: 0, notBefore: 0 });
    this.#first = candidateOf(url);
    this.#all = [this.#first, ...fallback.map(candidateOf)];
    this.#current = this.#first;
    this.#seconds = seconds;
  }

  get url(): string {
    return this.#current.url;
  }

  /** Number of the fallback that is read, from 1; undefined while the first URL is read. */
  get fallback(): number | undefined {
    return this.#current === this.#first ? undefined : this.#all.indexOf(this.#current);
  }

  /**
   * Chooses the URL to open after a failure. A URL that gave pictures is opened again, because most failures are short.
   * Otherwise the next URL whose backoff is over follows.
   * @param permanent only a person can fix the failure
   * @returns wait before {@link url} is opened, milliseconds
   */
  next(gavePictures: boolean, permanent: boolean): number {
    const now = performance.now();
    const broken = this.#current;
    broken.failures = gavePictures ? 1 : broken.failures + 1;
    this.#backOff(broken, permanent);
    if (gavePictures && !permanent) return Math.ceil(broken.notBefore - now);
    if (broken === this.#first) this.#firstDue = Math.max(broken.notBefore, now + this.#seconds * 1000);
    const at = this.#all.indexOf(broken) + 1;
    const inTurn = [...this.#all.slice(at), ...this.#all.slice(0, at)];
    this.#current =
      inTurn.find(({ notBefore }) => notBefore <= now) ??
      inTurn.reduce((soonest, one) => (one.notBefore < soonest.notBefore ? one : soonest));
    return Math.max(0, Math.ceil(this.#current.notBefore - now));
  }

  /** The backoff doubles from 0.5 s to 10 s. Jitter spreads the reconnections of cameras behind one switch. */
  #backOff(one: Candidate, permanent: boolean): void {
    const doubled = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** (one.failures - 1));
    one.notBefore = performance.now() + Math.round((permanent ? PERMANENT_RETRY_MS : doubled) * this.#jitter);
  }

  /**
   * While a fallback is read, tries the first URL from time to time and returns to it once it gives a picture.
   * @param goBack called when the first URL gives a picture
   * @returns a function that ends these attempts
   */
  watch(open: Open, goBack: () => void): () => void {
    if (this.#current === this.#first) return () => {};
    const ending = new AbortController();
    let timer: NodeJS.Timeout;
    const again = () => {
      timer = setTimeout(tryFirst, Math.max(0, this.#firstDue - performance.now()));
    };
    const tryFirst = async () => {
      this.#firstDue = performance.now() + this.#seconds * 1000;
      const seen = await tryUrl(open, this.#first.url, ending.signal);
      if (ending.signal.aborted) return;
      if (seen === 'refused') {
        this.#backOff(this.#first, true);
        this.#firstDue = Math.max(this.#firstDue, this.#first.notBefore);
      }
      if (seen !== 'picture') return again();
      this.#current = this.#first;
      goBack();
    };
    again();
    return () => {
      ending.abort();
      clearTimeout(timer);
    };
  }
}

/** @returns whether the URL gives a picture now; `refused` if only a person can fix the failure */
async function tryUrl(open: Open, url: string, ending: AbortSignal): Promise<'picture' | 'none' | 'refused'> {
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

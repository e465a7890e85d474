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

/** One of a stream's URLs, and how long it is left alone by its own failures. */
interface Candidate {
  url: string;
  failures: number;
  /** As `performance.now` tells it. */
  notBefore: number;
}

/** Which of a stream's URLs is read, and when: in their order, the first that gives pictures. */
export class Failover {
  readonly #first: Candidate;
  readonly #all: readonly Candidate[];
  readonly #seconds: number;
  /** One for all, so that those that failed alike are due in their order. */
  readonly #jitter = 0.75 + Math.random() * 0.5;
  #now: Candidate;
  /** When the first URL is tried beside a fallback, as `performance.now` tells it; kept however often the fallback breaks off. */
  #firstDue = 0;

  /** @param seconds that a fallback is read before the first URL is tried again */
  constructor(url: string, fallback: readonly string[] = [], seconds = DEFAULT_SECONDS) {
    const all = [url, ...fallback].map((one) => ({ url: one, failures: 0, notBefore: 0 }));
    [this.#first = { url, failures: 0, notBefore: 0 }] = all;
    this.#all = all;
    this.#now = this.#first;
    this.#seconds = seconds;
  }

  get url(): string {
    return this.#now.url;
  }

  /** Which fallback it is, from 1; undefined while it is the first URL. */
  get fallback(): number | undefined {
    return this.#now === this.#first ? undefined : this.#all.indexOf(this.#now);
  }

  /**
   * The URL broke off. One that gave pictures is opened again, for most breaks are short; after another comes the next that is
   * not to be left alone.
   * @param permanent only a person can mend it
   * @returns when to open it, milliseconds from now
   */
  next(gavePictures: boolean, permanent: boolean): number {
    const now = performance.now();
    const broken = this.#now;
    broken.failures = gavePictures ? 1 : broken.failures + 1;
    this.#leaveAlone(broken, permanent);
    if (gavePictures && !permanent) return broken.notBefore - now;
    if (broken === this.#first) this.#firstDue = Math.max(broken.notBefore, now + this.#seconds * 1000);
    const at = this.#all.indexOf(broken) + 1;
    const inTurn = [...this.#all.slice(at), ...this.#all.slice(0, at)];
    this.#now =
      inTurn.find(({ notBefore }) => notBefore <= now) ??
      inTurn.reduce((soonest, one) => (one.notBefore < soonest.notBefore ? one : soonest));
    return Math.max(0, this.#now.notBefore - now);
  }

  /** Its wait doubles from half a second to ten; jitter keeps cameras behind one switch from coming back all at once. */
  #leaveAlone(one: Candidate, permanent: boolean): void {
    const doubled = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** (one.failures - 1));
    one.notBefore = performance.now() + Math.round((permanent ? PERMANENT_RETRY_MS : doubled) * this.#jitter);
  }

  /**
   * While a fallback is read, sees now and then whether the first URL gives a picture, and then goes back to it.
   * @param goBack called once it does
   * @returns how to end that
   */
  watch(open: Open, goBack: () => void): () => void {
    if (this.#now === this.#first) return () => {};
    const ending = new AbortController();
    let timer: NodeJS.Timeout;
    const again = () => {
      timer = setTimeout(tryFirst, Math.max(0, this.#firstDue - performance.now()));
    };
    const tryFirst = async () => {
      this.#firstDue = performance.now() + this.#seconds * 1000;
      const seen = await lookAt(open, this.#first.url, ending.signal);
      if (ending.signal.aborted) return;
      if (seen === 'refused') {
        this.#leaveAlone(this.#first, true);
        this.#firstDue = Math.max(this.#firstDue, this.#first.notBefore);
      }
      if (seen !== 'picture') return again();
      this.#now = this.#first;
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

import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

/** State of a part of the pipeline, by its last probe. */
export interface PartHealth {
  /** `null`: unknown now; `error` says why. */
  ok: boolean | null;
  /** Since when it has this state, epoch ms. */
  since: number;
  error?: string;
  /** A problem of a part that does answer. */
  note?: string;
  /** The last outage, if the part has recovered from one. */
  before?: { since: number; error: string };
}

/** Probes whether a part works, and throws the reason if it doesn't. @returns why its state is unknown now */
export type Probe = () => Promise<string | undefined>;

type Log = { info(message: string): void; warn(message: string): void };

const EVERY_MS = 1_500;
/** Longest wait for an answer. */
const TIMEOUT_MS = 2_500;
/** Failures in a row that make an outage: a single one may come from a leader that moved a moment ago. */
const OUTAGE_FAILURES = 2;
const RETRY_MS = 500;
/** Most characters of an answer, enough for what ingest reports of a thousand cameras. */
const MAX_RESPONSE = 2_000_000;

/** An error as one line, with its cause and its HTTP status: the AWS SDK's own message may hold neither. */
export function messageOf(error: Error): string {
  const { $metadata, cause, name } = error as Error & { $metadata?: { httpStatusCode?: number } };
  const status = $metadata?.httpStatusCode;
  if (name === 'TimeoutError') return 'it has not answered in time';
  // Where a name has several addresses, as localhost may, and none is reached, Node gives only a code.
  const textOf = ({ message, code = '' }: NodeJS.ErrnoException) => message || code;
  const message = textOf(error);
  const reason = cause instanceof Error && textOf(cause);
  const why = reason && !message.includes(reason) ? `: ${reason}` : '';
  return `${message}${why}${status ? ` (${status})` : ''}`.replaceAll(/\s+/g, ' ');
}

/** @throws TimeoutError when the work takes longer than `ms` */
export async function withTimeout<Result>(ms: number, work: Promise<Result>): Promise<Result> {
  const late = AbortSignal.timeout(ms);
  const { promise, reject } = Promise.withResolvers<never>();
  late.addEventListener('abort', () => reject(late.reason), { once: true });
  return Promise.race([work, promise]);
}

const BAD_RESPONSE = 'it answers with ';

/** Whether {@link checkHttp} had an answer: the server can be reached, and is broken. @param error its message */
export const isBadResponse = (error: string) => error.startsWith(BAD_RESPONSE);

/** Checks that a server answers. @throws Error where it doesn't, or answers that it is broken */
export async function checkHttp(
  url: string | URL,
  isAnswer = (status: number) => status < 500,
): Promise<undefined> {
  const { status } = await getHttp(url);
  if (!isAnswer(status)) throw new Error(`${BAD_RESPONSE}${status}`);
}

/**
 * The answer to a GET request, without redirects. `fetch` is not used: loading it would slow down each start.
 * @throws TimeoutError after `ms`; Error when nothing answers, or the answer is too long
 */
export async function getHttp(url: string | URL, ms = TIMEOUT_MS): Promise<{ status: number; text: string }> {
  const { get } = process.getBuiltinModule(new URL(url).protocol === 'https:' ? 'node:https' : 'node:http');
  const signal = AbortSignal.timeout(ms);
  try {
    // An error after the response is that of its body, too.
    const request = get(url, { signal }).on('error', () => {});
    const [answer]: [IncomingMessage] = (await once(request, 'response')) as never;
    let text = '';
    for await (const chunk of answer.setEncoding('utf8')) {
      text += chunk;
      if (text.length > MAX_RESPONSE) throw new Error(`its answer has over ${MAX_RESPONSE} characters`);
    }
    return { status: answer.statusCode ?? 0, text };
  } catch (error) {
    throw signal.aborted ? signal.reason : error;
  }
}

/** Asks each part once. @param ms longest wait for an answer */
export async function checkOnce(
  probes: Readonly<Record<string, Probe>>,
  ms: number,
): Promise<Record<string, PartHealth>> {
  const outcomes = Object.entries(probes).map(
    async ([name, probe]) => [name, await outcome(probe, ms)] as const,
  );
  return Object.fromEntries(await Promise.all(outcomes));
}

async function outcome(probe: Probe, ms: number): Promise<PartHealth> {
  const since = Date.now();
  try {
    const unknown = await withTimeout(ms, probe());
    return unknown === undefined ? { ok: true, since } : { ok: null, since, error: unknown };
  } catch (error) {
    return { ok: false, since, error: messageOf(error as Error) };
  }
}

/** Probes each part again and again, and remembers since when it has its state. Logs each outage once, and its end. */
export class HealthWatch {
  readonly #parts: Record<string, PartHealth>;
  readonly #log: Log;
  readonly #stop = new AbortController();

  /** @param probes by the part's name */
  constructor(probes: Readonly<Record<string, Probe>>, log: Log) {
    this.#log = log;
    const since = Date.now();
    this.#parts = Object.fromEntries(
      Object.keys(probes).map((name) => [name, { ok: null, since, error: 'it was not asked yet' }]),
    );
    for (const [name, probe] of Object.entries(probes)) void this.#follow(name, probe);
  }

  get parts(): Readonly<Record<string, PartHealth>> {
    return this.#parts;
  }

  isAway(name: string): boolean {
    return this.#parts[name]?.ok === false;
  }

  stop(): void {
    this.#stop.abort();
  }

  async #follow(name: string, probe: Probe): Promise<void> {
    const { signal } = this.#stop;
    let failures: PartHealth[] = [];
    let inFlight: Promise<string | undefined> | undefined;
    // A probe that still waits for an answer is not started a second time.
    const ask = () => {
      inFlight ??= probe().finally(() => {
        inFlight = undefined;
      });
      return inFlight;
    };
    await sleep(0); // a probe may ask how the others are
    while (!signal.aborted) {
      const now = await outcome(ask, TIMEOUT_MS);
      if (signal.aborted) return;
      failures = now.ok === false ? [...failures, now] : [];
      const isDoubt = now.ok === false && failures.length < OUTAGE_FAILURES;
      // An outage began with the first probe that failed.
      if (!isDoubt) this.#take(name, { ...now, since: failures[0]?.since ?? now.since });
      await sleep(isDoubt ? RETRY_MS : EVERY_MS, undefined, { signal }).catch(() => {});
    }
  }

  #take(name: string, now: PartHealth): void {
    const was = this.#parts[name];
    if (was?.ok === now.ok) {
      this.#parts[name] = { ...was, ...(now.error ? { error: now.error } : {}) };
      return;
    }
    const isBack = was?.ok === false && now.ok === true;
    const before = isBack ? { since: was.since, error: was.error ?? '' } : was?.before;
    this.#parts[name] = { ...now, ...(before ? { before } : {}) };
    if (now.ok === false) this.#log.warn(`${name} does not answer: ${now.error}`);
    if (isBack) this.#log.info(`${name} answers again, after ${Math.ceil((now.since - was.since) / 1000)} s`);
  }
}

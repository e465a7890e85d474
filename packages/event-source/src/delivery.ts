import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { type MSKEvent, type MSKRecord, positionOf, toLambdaEvent } from '@video-pipeline/frame';
import type { PutFailed } from '@video-pipeline/storage';
import type { Logger } from '@video-pipeline/telemetry';
import type { Batch, Refused } from './batcher.ts';
import type { InFlightRecords } from './in-flight.ts';
import type { FailureCondition, OnFailure } from './on-failure.ts';

/** The part of Lambda's context that a handler gets here. */
export interface HandlerContext {
  functionName: string;
  awsRequestId: string;
  /** Milliseconds until the invocation counts as failed. */
  getRemainingTimeInMillis(): number;
}

/** An invocation took longer than the function may. */
export class HandlerTimeoutError extends Error {
  override readonly name = 'HandlerTimeoutError';
}

/** A Lambda handler for events of an MSK event-source mapping. */
export type Handler = (event: MSKEvent, context: HandlerContext) => Promise<unknown> | unknown;

export interface DeliveryOptions {
  handler: Handler;
  functionName: string;
  /** Longest time of an invocation, milliseconds. */
  timeoutMs: number;
  /** The event source that the event names. */
  source: { eventSourceArn: string; bootstrapServers: string };
  /** Largest payload of an invocation, bytes of JSON. */
  maxBytes: number;
  /**
   * A batch goes to `onFailure` after this many retries failed, or once one of its records is older than `maxAgeMs`,
   * milliseconds. Left out, retries never end.
   */
  afterRetries?: { maxRetries: number; maxAgeMs?: number | undefined; onFailure: OnFailure } | undefined;
  /** Destination of a record that no invocation can carry. */
  onTooLarge: OnFailure;
  /** Destination of records that can't be read, and of those that fail whenever they are delivered alone. */
  putFailed?: PutFailed;
  /**
   * The last record, of any batch, that the handler processed. It is delivered again to find out if a record or the
   * handler is at fault. So a stage may process a record twice: `notify` posts an event again, with the same id.
   */
  lastGood?: { record?: MSKRecord | undefined };
  /** Notes of the records in work, for the next process. Left out, none are written or read. */
  inFlight?: InFlightRecords;
  logger: Pick<Logger, 'warn'>;
  /** Ends the waits between retries. */
  signal: AbortSignal;
  /** Waits between retries; left out, on the clock. */
  wait?: (ms: number, signal: AbortSignal) => Promise<void>;
}

/** Waits between retries, milliseconds: doubled each time. */
const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 10_000;

/** How long to wait after the `attempt`th attempt (1-based) failed, milliseconds. */
export function backoffMs(attempt: number): number {
  return Math.min(FIRST_WAIT_MS * 2 ** (attempt - 1), LONGEST_WAIT_MS);
}

/** Attempts with a batch as a whole, before its records are delivered one by one. */
const BATCH_ATTEMPTS = 5;
/** A record that failed alone this often, while another one succeeded, is put into failed/. */
const RECORD_ATTEMPTS = 4;

/**
 * Invokes the handler with a batch until it succeeds, or the batch goes to its destination on failure. A batch that
 * fails again and again is delivered record by record, so that a record that always fails delays no other stream.
 * While a record fails, later ones of its stream wait: the stream keeps its order. If no record succeeds, the records
 * are not at fault, and the attempts never end.
 * @param isOurs asked before each retry: whether the batch's partitions are still assigned to us
 * @returns whether the batch is done; `false` when its partitions are no longer ours, or this process stops
 */
export async function deliver(
  batch: Batch,
  options: DeliveryOptions,
  isOurs: () => boolean,
): Promise<boolean> {
  const pending = new PendingRecords(batch, options);
  for (let attempt = 1; isOurs() && !options.signal.aborted; attempt++) {
    try {
      await pending.attempt(attempt);
      return true;
    } catch (error) {
      const wait = backoffMs(pending.isDivided ? attempt - BATCH_ATTEMPTS : attempt);
      const [first] = pending.records;
      const what = `${pending.records.length} records from ${first?.topic}-${first?.partition}-${first?.offset} on`;
      options.logger.warn(`${what} failed, attempt ${attempt}; again in ${wait} ms`, error as Error);
      await (options.wait ?? onClock)(wait, options.signal);
    }
  }
  return false;
}

class PendingRecords {
  readonly #batch: Batch;
  readonly #options: DeliveryOptions;
  readonly #failures = new Map<MSKRecord, number>();
  #refused: Refused[];
  records: MSKRecord[];
  /** Whether the records are delivered one by one, since the whole batch failed. */
  isDivided = false;

  constructor(batch: Batch, options: DeliveryOptions) {
    this.#batch = batch;
    this.#options = { lastGood: {}, ...options };
    this.#refused = [...(batch.refused ?? [])];
    this.records = [...batch.records];
  }

  /** @throws the handler's error; some records may be done by then */
  async attempt(attempt: number): Promise<void> {
    const { inFlight, afterRetries, putFailed, maxBytes } = this.#options;
    await this.#setRefusedAside();
    if (this.records.length === 0) return;
    const mayDivide = putFailed !== undefined && this.#batch.bytes <= maxBytes;
    this.isDivided = mayDivide && !afterRetries && attempt > BATCH_ATTEMPTS;
    if (mayDivide && inFlight?.isOneByOne) await this.#oneByOne();
    else if (this.isDivided) await this.#divide();
    else await attemptOnce({ ...this.#batch, records: this.records }, attempt, this.#options);
  }

  async #setRefusedAside(): Promise<void> {
    const { putFailed, logger } = this.#options;
    for (const { record, refusal } of [...this.#refused]) {
      const { code, first: first_offset, last: last_offset, reason, bytes } = refusal;
      logger.warn(
        `${record.topic}-${record.partition}, offsets ${first_offset} to ${last_offset}: ${reason}`,
      );
      const reference = { first_offset, last_offset, ...(bytes ? { bytes } : {}) };
      await putFailed?.(record, reason, { code, reference });
      this.#refused.shift();
    }
  }

  /** Delivers each record alone: one of them may have ended an earlier process. */
  async #oneByOne(): Promise<void> {
    const { inFlight, putFailed, logger } = this.#options;
    for (const record of [...this.records]) {
      const reason = inFlight?.crashReason(record);
      if (reason && putFailed) {
        logger.warn(`${positionOf(record)} failed: ${reason}`);
        await putFailed(record, reason, { code: 'ENDS_PROCESS' });
        inFlight?.forget([positionOf(record)]);
      } else await invoke([record], this.#options);
      this.#done(record);
    }
  }

  /** Delivers each record alone. Records that fail stay, except one that has failed too often while others succeed. */
  async #divide(): Promise<void> {
    const failed = new Map<string, unknown>();
    for (const record of this.records) {
      const stream = `${record.topic}-${record.partition}/${record.key}`;
      if (failed.has(stream) || !this.records.includes(record)) continue;
      try {
        await this.#deliverAlone(record);
      } catch (error) {
        const failures = this.#failures.get(record) ?? 0;
        if (failures >= RECORD_ATTEMPTS) await this.#giveUp(record, failures, error);
        else failed.set(stream, error);
      }
    }
    for (const error of failed.values()) throw error;
  }

  /** The last attempt comes after another record has succeeded. Until then, the handler may be at fault. */
  async #deliverAlone(record: MSKRecord): Promise<void> {
    try {
      await invoke([record], this.#options);
    } catch (error) {
      const failures = Math.min((this.#failures.get(record) ?? 0) + 1, RECORD_ATTEMPTS - 1);
      this.#failures.set(record, failures);
      if (failures < RECORD_ATTEMPTS - 1 || !(await this.#anotherSucceeds(record))) throw error;
      this.#failures.set(record, RECORD_ATTEMPTS);
      await invoke([record], this.#options);
    }
    this.#done(record);
  }

  async #anotherSucceeds(record: MSKRecord): Promise<boolean> {
    const other = this.#options.lastGood?.record ?? this.records.find((one) => one !== record);
    if (!other) return false;
    try {
      await invoke([other], this.#options);
    } catch {
      return false;
    }
    this.#done(other);
    return true;
  }

  async #giveUp(record: MSKRecord, failures: number, error: unknown): Promise<void> {
    const reason = `failed ${failures} times on its own: ${(error as Error)?.message ?? error}`;
    this.#options.logger.warn(`${positionOf(record)} ${reason}`);
    await this.#options.putFailed?.(record, reason, { code: 'FAILS_ALWAYS' });
    this.#done(record);
  }

  #done(record: MSKRecord): void {
    this.records = this.records.filter((one) => one !== record);
  }
}

async function onClock(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => {});
}

async function attemptOnce(batch: Batch, attempt: number, options: DeliveryOptions) {
  const putAway = (onFailure: OnFailure, condition: FailureCondition, invocations: number) => {
    const event = toLambdaEvent(batch.records, options.source);
    return onFailure({ event, batch, condition, invocations, functionName: options.functionName });
  };
  if (batch.bytes > options.maxBytes) return putAway(options.onTooLarge, 'MaximumPayloadSizeExceeded', 0);
  const { maxRetries = Number.POSITIVE_INFINITY, maxAgeMs, onFailure } = options.afterRetries ?? {};
  if (onFailure && attempt > maxRetries + 1) {
    return putAway(onFailure, 'RetryAttemptsExhausted', maxRetries + 1);
  }
  // A record may have no time, which is -1. Its age is not known.
  const oldest = Math.min(...batch.records.map(({ timestamp }) => timestamp).filter((time) => time >= 0));
  if (onFailure && maxAgeMs !== undefined && Date.now() - oldest > maxAgeMs) {
    return putAway(onFailure, 'RecordAgeExceeded', attempt - 1);
  }
  await invoke(batch.records, options);
}

/**
 * Invokes the handler once. Lambda stops a handler after its timeout; here a handler can't be stopped and may go on. As
 * with any second delivery, it writes the same objects again.
 */
async function invoke(records: readonly MSKRecord[], options: DeliveryOptions): Promise<void> {
  const { handler, functionName, timeoutMs, inFlight } = options;
  const event = toLambdaEvent(records, options.source);
  const end = performance.now() + timeoutMs;
  const context = {
    functionName,
    awsRequestId: randomUUID(),
    getRemainingTimeInMillis: () => Math.max(0, end - performance.now()),
  };
  const inTime = new AbortController();
  const timeout = sleep(timeoutMs, undefined, { signal: inTime.signal }).then(() => {
    throw new HandlerTimeoutError(`${functionName} timed out after ${timeoutMs / 1000} s`);
  });
  const work = async () => {
    await Promise.race([handler(event, context), timeout]);
  };
  try {
    await (inFlight ? inFlight.during(records, work) : work());
    if (options.lastGood) options.lastGood.record = records.at(-1);
  } finally {
    timeout.catch(() => {}); // Ended by the next line, or thrown above.
    inTime.abort();
  }
}

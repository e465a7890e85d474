import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { MSKEvent } from '@video-pipeline/frame';
import type { Logger } from '@video-pipeline/telemetry';
import type { Batch } from './batcher.ts';
import type { FailureCondition, OnFailure } from './on-failure.ts';

/** What of Lambda's context a handler gets here. */
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
  /** What the event says of where its records come from. */
  source: { eventSourceArn: string; bootstrapServers: string };
  /** Largest payload of an invocation, bytes of JSON. */
  maxBytes: number;
  /** Where a batch goes after so many retries in vain; without it there is no end to them. */
  afterRetries?: { maxRetries: number; onFailure: OnFailure } | undefined;
  /** Where a record goes that no invocation can carry. */
  onTooLarge: OnFailure;
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

/**
 * Invokes the handler with a batch until it succeeds, or the batch is put away on failure.
 * @param isOurs asked before each retry: whether the batch's partitions still belong to us
 * @returns whether the batch is done with; `false` when it was given up since it is not ours or we stop
 */
export async function deliver(
  batch: Batch,
  options: DeliveryOptions,
  isOurs: () => boolean,
): Promise<boolean> {
  const event = toEvent(batch, options.source);
  for (let attempt = 1; isOurs() && !options.signal.aborted; attempt++) {
    try {
      await attemptOnce(event, batch, attempt, options);
      return true;
    } catch (error) {
      const wait = backoffMs(attempt);
      const [first] = batch.records;
      const what = `${batch.records.length} records from ${first?.topic}-${first?.partition}-${first?.offset} on`;
      options.logger.warn(`${what} failed, attempt ${attempt}; again in ${wait} ms`, error as Error);
      await (options.wait ?? onClock)(wait, options.signal);
    }
  }
  return false;
}

async function onClock(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => {});
}

async function attemptOnce(event: MSKEvent, batch: Batch, attempt: number, options: DeliveryOptions) {
  const putAway = (onFailure: OnFailure, condition: FailureCondition, invocations: number) =>
    onFailure({ event, batch, condition, invocations, functionName: options.functionName });
  if (batch.bytes > options.maxBytes) return putAway(options.onTooLarge, 'MaximumPayloadSizeExceeded', 0);
  const { maxRetries = Number.POSITIVE_INFINITY, onFailure } = options.afterRetries ?? {};
  if (onFailure && attempt > maxRetries + 1) {
    return putAway(onFailure, 'RetryAttemptsExhausted', maxRetries + 1);
  }
  await invoke(event, options);
}

/**
 * Invokes the handler once. What it still does after its time is up can't be stopped here, as Lambda would; like any
 * other second delivery it writes the same again.
 */
async function invoke(event: MSKEvent, { handler, functionName, timeoutMs }: DeliveryOptions): Promise<void> {
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
  try {
    await Promise.race([handler(event, context), timeout]);
  } finally {
    timeout.catch(() => {}); // Ended by the next line, or thrown above.
    inTime.abort();
  }
}

function toEvent(batch: Batch, source: DeliveryOptions['source']): MSKEvent {
  const records = Object.groupBy(batch.records, ({ topic, partition }) => `${topic}-${partition}`);
  return { eventSource: 'aws:kafka', ...source, records: records as MSKEvent['records'] };
}

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
}

/** A Lambda handler for events of an MSK event-source mapping. */
export type Handler = (event: MSKEvent, context: HandlerContext) => Promise<unknown> | unknown;

export interface DeliveryOptions {
  handler: Handler;
  functionName: string;
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
  await options.handler(event, { functionName: options.functionName, awsRequestId: randomUUID() });
}

function toEvent(batch: Batch, source: DeliveryOptions['source']): MSKEvent {
  const records = Object.groupBy(batch.records, ({ topic, partition }) => `${topic}-${partition}`);
  return { eventSource: 'aws:kafka', ...source, records: records as MSKEvent['records'] };
}

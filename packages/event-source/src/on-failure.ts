import { randomUUID } from 'node:crypto';
import { MAX_TIME, type MSKEvent, type MSKRecord, positionOf } from '@video-pipeline/frame';
import type { PutFailed, Store } from '@video-pipeline/storage';
import type { Batch } from './batcher.ts';

/** Why a batch goes to its destination on failure, in Lambda's words. */
export type FailureCondition = 'MaximumPayloadSizeExceeded' | 'RecordAgeExceeded' | 'RetryAttemptsExhausted';

interface FailedBatch {
  event: MSKEvent;
  batch: Batch;
  condition: FailureCondition;
  /** How often the handler was invoked with it. */
  invocations: number;
  functionName: string;
}

/** Stores a failed batch. The batch counts as done once this resolves. */
export type OnFailure = (failed: FailedBatch) => Promise<void>;

/**
 * An S3 on-failure destination: the invocation record that Lambda writes, with the whole event in it.
 * @see https://docs.aws.amazon.com/lambda/latest/dg/kafka-on-failure.html
 * @example
 * const onTooLarge = toS3Destination(createStore(), 'aws/lambda');
 */
export function toS3Destination(store: Store, prefix: string): OnFailure {
  return async (failed) => {
    const [first] = failed.batch.records;
    if (!first) return;
    await store.put({
      // A new cluster counts its offsets from 0 again.
      key: [prefix, `${positionOf(first)}-${first.timestamp}`].filter(Boolean).join('/'),
      body: JSON.stringify(invocationRecord(failed, new Date())),
      contentType: 'application/json',
    });
  };
}

/** Puts each record of the batch into `failed/` instead. */
export function toFailedRecords(putFailed: PutFailed): OnFailure {
  return async ({ batch, condition }) => {
    for (const record of batch.records) await putFailed(record, condition);
  };
}

function invocationRecord({ event, batch, condition, invocations, functionName }: FailedBatch, now: Date) {
  const payload = JSON.stringify(event);
  return {
    requestContext: {
      requestId: randomUUID(),
      functionArn: functionName,
      condition,
      approximateInvokeCount: invocations,
    },
    responseContext:
      invocations > 0 ? { statusCode: 200, executedVersion: '$LATEST', functionError: 'Unhandled' } : null,
    version: '1.0',
    timestamp: now.toISOString(),
    KafkaBatchInfo: {
      batchSize: batch.records.length,
      eventSourceArn: event.eventSourceArn,
      bootstrapServers: event.bootstrapServers,
      payloadSize: Buffer.byteLength(payload),
      recordsInfo: Object.fromEntries(
        Object.entries(event.records).map(([name, records]) => [name, recordsInfo(records)]),
      ),
    },
    payload,
  };
}

function recordsInfo(records: readonly MSKRecord[]) {
  const [first, last] = [records.at(0), records.at(-1)];
  // A producer may give any number as the time, such as nanoseconds.
  const time = (record: MSKRecord | undefined) =>
    record && new Date(Math.min(MAX_TIME, Math.max(-MAX_TIME, record.timestamp))).toISOString();
  return {
    firstRecordOffset: String(first?.offset),
    lastRecordOffset: String(last?.offset),
    firstRecordTimestamp: time(first),
    lastRecordTimestamp: time(last),
  };
}

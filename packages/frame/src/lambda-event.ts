import type { MSKEvent, MSKRecord } from 'aws-lambda';
import { isStreamId, type Position } from './frame.ts';
import type { ReceivedRecord } from './kafka-record.ts';

export type { MSKEvent, MSKRecord } from 'aws-lambda';

/**
 * A record as a Lambda behind an Amazon MSK event-source mapping receives it: key and value in base64, header
 * values as arrays of byte numbers.
 * @see https://docs.aws.amazon.com/lambda/latest/dg/with-msk.html
 */
export function toLambdaRecord(
  position: { topic: string; partition: number; offset: string; timestamp: number },
  record: ReceivedRecord,
): MSKRecord {
  return {
    ...position,
    offset: Number(position.offset),
    timestampType: 'LOG_APPEND_TIME',
    key: record.key === null ? '' : Buffer.from(record.key).toString('base64'),
    value: record.value?.toString('base64') ?? '',
    headers: Object.entries(record.headers ?? {}).flatMap(([name, value]) =>
      // `toJSON` takes a twentieth of the time that spreading the bytes takes.
      [value].flat().map((one) => ({ [name]: Buffer.from(one ?? '').toJSON().data })),
    ),
  };
}

/** The event with which the event-source mapping `source` delivers these records. */
export function toLambdaEvent(
  list: readonly MSKRecord[],
  source: Pick<MSKEvent, 'eventSourceArn' | 'bootstrapServers'>,
): MSKEvent {
  const records = Object.groupBy(list, ({ topic, partition }) => `${topic}-${partition}`);
  return { eventSource: 'aws:kafka', ...source, records: records as MSKEvent['records'] };
}

/** The inverse of {@link toLambdaRecord}: the record as it was in Kafka. A header may be null there. */
export function fromLambdaRecord(record: MSKRecord): ReceivedRecord {
  const headers: Record<string, Buffer | Buffer[]> = Object.create(null);
  for (const header of record.headers) {
    for (const [name, bytes] of Object.entries(header)) {
      const value = Buffer.from(bytes ?? []);
      const before = headers[name];
      headers[name] = before === undefined ? value : [before, value].flat();
    }
  }
  return {
    key: record.key ? Buffer.from(record.key, 'base64') : null,
    value: record.value ? Buffer.from(record.value, 'base64') : null,
    headers,
  };
}

/** All records of an event: partition by partition, in offset order. */
export function recordsOf(event: MSKEvent): MSKRecord[] {
  return Object.values(event.records).flat();
}

/** `topic-partition-offset`, the name of a record in errors, logs and `failed/`. */
export function positionOf({ topic, partition, offset }: Position): string {
  return `${topic}-${partition}-${offset}`;
}

/** The stream that a record names, by its header, otherwise by its key. `unknown` if neither is a stream id. */
export function claimedStream(record: MSKRecord): string {
  const { key, headers } = fromLambdaRecord(record);
  return [headers?.stream_id, key].map((text) => String(text ?? '')).find(isStreamId) ?? 'unknown';
}

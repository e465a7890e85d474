import { failedKey, type MSKRecord } from '@video-pipeline/frame';
import type { FailureCode } from './failures.ts';
import type { Store } from './store.ts';

/** Where records are that are too large to be kept, or that can't be read: in Kafka alone. */
export interface Reference {
  first_offset: number;
  last_offset: number;
  /** As they lie there, where that is known. */
  bytes?: number;
}

/** What lies in `failed/`: the record as it came, why it could not be processed, where and when. */
export interface FailedRecord {
  stage: string;
  /** A batch that a mapping gave up on has none. */
  code?: FailureCode;
  reason: string;
  /** ISO 8601, UTC. */
  time: string;
  /** Where there is one, the record has no value: what failed is at these offsets of its partition. */
  reference?: Reference;
  // Last, and its value last of all, so that the first bytes of an entry tell all but what was in the record.
  record: MSKRecord;
}

/**
 * Puts a record that no retry can help out of the way.
 * @param more.reference given where the record stands for others, or without its value
 * @throws what the store throws: a record that is not safely put away must be delivered again
 */
export type PutFailed = (
  record: MSKRecord,
  reason: string,
  more?: { code?: FailureCode; reference?: Reference },
) => Promise<void>;

/** Reasons may quote what is wrong, characters. */
const MAX_REASON_LENGTH = 1_000;

/** Puts records into the folder `failed/<stage>/` of the store. */
export function createPutFailed(store: Store, stage: string): PutFailed {
  return (record, reason, { code, reference } = {}) => {
    const { value, ...rest } = record;
    const failed: FailedRecord = {
      stage,
      ...(code ? { code } : {}),
      reason: reason.length > MAX_REASON_LENGTH ? `${reason.slice(0, MAX_REASON_LENGTH)}...` : reason,
      time: new Date().toISOString(),
      ...(reference ? { reference } : {}),
      record: { ...rest, value },
    };
    return store.put({
      key: failedKey(stage, record),
      body: JSON.stringify(failed),
      contentType: 'application/json',
    });
  };
}

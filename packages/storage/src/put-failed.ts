import { failedKey, type MSKRecord } from '@video-pipeline/frame';
import type { FailureCode } from './failures.ts';
import type { MergingStore } from './store.ts';

/** Points to records that are only in Kafka, since they are too large to be stored or can't be read. */
export interface Reference {
  first_offset: number;
  last_offset: number;
  /** Their size in Kafka, where that is known. */
  bytes?: number;
}

/** An object in `failed/`: the record as it came, why it could not be processed, by which stage and when. */
export interface FailedRecord {
  stage: string;
  /** A batch that an event-source mapping gave up on has no code. */
  code?: FailureCode;
  reason: string;
  /** ISO 8601, UTC. */
  time: string;
  /** With it, the record has no value: what failed is at these offsets of its partition. */
  reference?: Reference;
  // The record is last, and its value last of all: the first bytes of an entry hold everything but the value.
  record: MSKRecord;
}

/**
 * Puts a record aside that no retry can help (a dead letter).
 * @param more.reference given if the record is a placeholder for others, or is stored without its value
 * @throws the store's error: a record that is not stored must be delivered again
 */
export type PutFailed = (
  record: MSKRecord,
  reason: string,
  more?: { code?: FailureCode; reference?: Reference },
) => Promise<void>;

/** Most characters of a reason: it may quote the part that is wrong. */
const MAX_REASON_LENGTH = 1_000;

/**
 * Puts records into the folder `failed/<stage>/` of the store. A new cluster counts offsets from 0 again. So a record
 * of the former cluster may have the key: it is moved to a key with its timestamp at the end.
 */
export function createPutFailed(store: MergingStore, stage: string): PutFailed {
  return async (record, reason, { code, reference } = {}) => {
    const { value, ...rest } = record;
    const failed: FailedRecord = {
      stage,
      ...(code ? { code } : {}),
      reason: reason.length > MAX_REASON_LENGTH ? `${reason.slice(0, MAX_REASON_LENGTH)}...` : reason,
      time: new Date().toISOString(),
      ...(reference ? { reference } : {}),
      record: { ...rest, value },
    };
    const key = failedKey(stage, record);
    const [body, contentType] = [JSON.stringify(failed), 'application/json'];
    let other: string | undefined;
    const merge = (before: string | undefined) => {
      other = before !== undefined && !isOf(before, record) ? before : undefined;
      return other ?? body;
    };
    await store.merge({ key, contentType, merge });
    if (other === undefined) return;
    await store.put({ key: `${key}-${recordIn(other)?.timestamp ?? 0}`, contentType, body: other });
    await store.put({ key, contentType, body });
  };
}

/** Whether a stored entry is of this record, which is delivered again. */
function isOf(entry: string, { timestamp, key, value }: MSKRecord): boolean {
  const before = recordIn(entry);
  return before?.timestamp === timestamp && before.key === key && before.value === value;
}

/** The record of an entry; undefined for other text. */
function recordIn(entry: string): MSKRecord | undefined {
  try {
    return (JSON.parse(entry) as FailedRecord).record;
  } catch {
    return undefined;
  }
}

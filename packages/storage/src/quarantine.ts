import { failedKey, type MSKRecord } from '@video-pipeline/frame';
import type { Store } from './store.ts';

/** What lies in `failed/`: the record as it came, why it could not be processed, where and when. */
export interface FailedRecord {
  stage: string;
  reason: string;
  /** ISO 8601, UTC. */
  time: string;
  record: MSKRecord;
}

/**
 * Puts a record that no retry can help out of the way.
 * @throws what the store throws: a record that is not safely put away must be delivered again
 */
export type Quarantine = (record: MSKRecord, reason: string) => Promise<void>;

/** A quarantine in the folder `failed/<stage>/` of the store. */
export function createQuarantine(store: Store, stage: string): Quarantine {
  return (record, reason) => {
    const failed: FailedRecord = { stage, reason, time: new Date().toISOString(), record };
    return store.put({
      key: failedKey(stage, record),
      body: JSON.stringify(failed),
      contentType: 'application/json',
    });
  };
}

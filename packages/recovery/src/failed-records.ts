import { failedKey, LOST_BATCHES, POLLER, type Position } from '@video-pipeline/frame';
import { FRAME_STAGES } from '@video-pipeline/stages';
import { type Bucket, ifThere, objectsOf } from '@video-pipeline/storage';
import { readFailedHead } from './failed.ts';
import { FailedEntryError, readLostBatch } from './lost-batches.ts';
import type { PositionedRecord } from './read-topic.ts';

export type TimedPosition = Pick<PositionedRecord, keyof Position | 'timestamp'>;

/** Stages of the frames, and the poller, put records there. */
const FAILING = [...FRAME_STAGES.map(({ name }) => name), POLLER];

/** S3 gives times in whole seconds. */
const STORED_MS = 1_000;

/**
 * Finds records in `failed/`, and in batches that an event-source mapping gave up on.
 * @param unreadable receives the keys of objects that are neither
 */
export async function failedRecords(bucket: Bucket, unreadable: string[]) {
  /** By key, the time when an entry was stored, epoch ms. */
  const stored = new Map<string, number>();
  for await (const object of objectsOf(bucket, 'failed/')) stored.set(object.key, object.stored);
  const ifReadable = <Read>(key: string, reading: Promise<Read>) =>
    ifThere(reading).catch((error) => {
      if (!(error instanceof FailedEntryError)) throw error;
      if (!unreadable.includes(key)) unreadable.push(key);
    });
  /** Timestamps of the records of lost batches, by the keys that they would have. */
  const lost = new Map<string, Set<number>>();
  for await (const key of bucket.list(`${LOST_BATCHES}/`)) {
    const batch = await ifReadable(key, readLostBatch(bucket, key));
    for (const record of batch?.records ?? []) {
      const name = failedKey(batch?.stage ?? '', record);
      lost.set(name, (lost.get(name) ?? new Set()).add(record.timestamp));
    }
  }
  /** An entry that is older than the record may be of a former cluster, which counted its offsets from 0, too. */
  const isOf = async (key: string, { timestamp }: TimedPosition) => {
    if (lost.get(key)?.has(timestamp)) return true;
    const at = stored.get(key);
    if (at === undefined || at + STORED_MS > timestamp) return at !== undefined;
    const entry = await ifReadable(key, readFailedHead(bucket, key));
    return entry?.record.timestamp === timestamp;
  };
  return {
    keys: new Set([...stored.keys(), ...lost.keys()]),
    async has(record: TimedPosition): Promise<boolean> {
      const entries = FAILING.map((stage) => isOf(failedKey(stage, record), record));
      return (await Promise.all(entries)).includes(true);
    },
  };
}

import { failedKey, LOST_BATCHES, type Place, POLLER } from '@video-pipeline/frame';
import { FRAME_STAGES } from '@video-pipeline/stages';
import { type Bucket, ifThere, objectsOf } from '@video-pipeline/storage';
import { readFailedHead } from './failed.ts';
import { FailedEntryError, readLostBatch } from './lost-batches.ts';
import type { PlacedRecord } from './read-topic.ts';

export type TimedPlace = Pick<PlacedRecord, keyof Place | 'timestamp'>;

/** Stages of the frames, and the poller, put records there. */
const FAILING = [...FRAME_STAGES.map(({ name }) => name), POLLER];

/** S3 tells whole seconds. */
const STORED_MS = 1_000;

/** What lies in `failed/`, and in batches that an event-source mapping gave up on. */
export async function failedRecords(bucket: Bucket, unreadable: string[]) {
  /** By key, the time when an entry was stored, epoch ms. */
  const stored = new Map<string, number>();
  for await (const object of objectsOf(bucket, 'failed/')) stored.set(object.key, object.stored);
  /** By the key that a record of a lost batch would have, with its timestamp. */
  const lost = new Set<string>();
  const nameOf = (stage: string, record: TimedPlace) => `${failedKey(stage, record)} ${record.timestamp}`;
  for await (const key of bucket.list(`${LOST_BATCHES}/`)) {
    try {
      const { stage, records } = await readLostBatch(bucket, key);
      for (const record of records) lost.add(nameOf(stage, record));
    } catch (error) {
      if (!(error instanceof FailedEntryError)) throw error;
      unreadable.push(key);
    }
  }
  /** An entry that is older than the record may be of a former cluster, which counted its offsets from 0, too. */
  const isOf = async (key: string, { timestamp }: TimedPlace) => {
    const at = stored.get(key);
    if (at === undefined || at + STORED_MS > timestamp) return at !== undefined;
    const entry = await ifThere(readFailedHead(bucket, key));
    return entry?.record.timestamp === timestamp;
  };
  return {
    keys: new Set([...stored.keys(), ...lost]),
    async has(record: TimedPlace): Promise<boolean> {
      if (FAILING.some((stage) => lost.has(nameOf(stage, record)))) return true;
      const entries = FAILING.map((stage) => isOf(failedKey(stage, record), record));
      return (await Promise.all(entries)).includes(true);
    },
  };
}

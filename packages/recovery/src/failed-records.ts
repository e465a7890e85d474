import { failedKey, LOST_BATCHES, POLLER, type Position } from '@video-pipeline/frame';
import { FRAME_STAGES } from '@video-pipeline/stages';
import { type Bucket, ifThere, objectsOf } from '@video-pipeline/storage';
import { DiskMap } from './disk-map.ts';
import { readFailedHead } from './failed.ts';
import { FailedEntryError, readLostBatch } from './lost-batches.ts';
import type { PositionedRecord } from './read-topic.ts';

export type TimedPosition = Pick<PositionedRecord, keyof Position | 'timestamp'>;

/** Stages of the frames, and the poller, put records there. */
const FAILING = [...FRAME_STAGES.map(({ name }) => name), POLLER];

/** S3 gives times in whole seconds. */
const STORED_MS = 1_000;

/** What lies under a key: an entry that was stored at this time, or records of lost batches with these timestamps. */
interface Found {
  /** Epoch ms. */
  stored?: number;
  lost?: number[];
}

/**
 * Finds records in `failed/`, and in batches that an event-source mapping gave up on.
 * @param unreadable receives the keys of objects that are neither
 */
export async function failedRecords(bucket: Bucket, unreadable: Set<string>) {
  const found = new DiskMap<Found>();
  for await (const { key, stored } of objectsOf(bucket, 'failed/')) found.set(key, { stored });
  const ifReadable = <Read>(key: string, reading: Promise<Read>) =>
    ifThere(reading).catch((error) => {
      if (!(error instanceof FailedEntryError)) throw error;
      unreadable.add(key);
    });
  for await (const key of bucket.list(`${LOST_BATCHES}/`)) {
    const batch = await ifReadable(key, readLostBatch(bucket, key));
    for (const record of batch?.records ?? []) {
      const name = failedKey(batch?.stage ?? '', record);
      const before = found.get(name) ?? {};
      found.set(name, { ...before, lost: [...(before.lost ?? []), record.timestamp] });
    }
  }
  /** An entry that is older than the record may be of a former cluster, which counted its offsets from 0, too. */
  const isOf = async (key: string, { timestamp }: TimedPosition) => {
    const { stored, lost } = found.get(key) ?? {};
    if (lost?.includes(timestamp)) return true;
    if (stored === undefined || stored + STORED_MS > timestamp) return stored !== undefined;
    const entry = await ifReadable(key, readFailedHead(bucket, key));
    return entry?.record.timestamp === timestamp;
  };
  return {
    /** The keys of the entries, and those that the records of lost batches would have. */
    *keys(): Generator<string> {
      for (const [key] of found) yield key;
    },
    async has(record: TimedPosition): Promise<boolean> {
      const entries = FAILING.map((stage) => isOf(failedKey(stage, record), record));
      return (await Promise.all(entries)).includes(true);
    },
    [Symbol.dispose]: () => found[Symbol.dispose](),
  };
}

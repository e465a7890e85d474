import type { Position, ReceivedRecord } from '@video-pipeline/frame';
import { createTail, type Kafka, type StoredRecord, withAdmin } from '@video-pipeline/kafka';
import { inParallel } from '@video-pipeline/storage';

export type PositionedRecord = ReceivedRecord & Position & Pick<StoredRecord, 'timestamp' | 'refusal'>;

interface ReadOptions {
  /** Begins at the first record of this time or later, epoch ms; without it, also where records have no time. */
  since?: number;
  /** Partitions that are read side by side. Each reader holds a fetch in memory, and has its own connections. */
  atOnce?: number;
}

/**
 * Reads a topic from its oldest record to the newest one at the time of the call, each partition in order. Records that
 * expire meanwhile are left out.
 * @param topic a topic that doesn't exist counts as empty
 * @param visit is awaited before the next record of the same partition
 * @throws TailError when a partition can't be read
 */
export async function readTopic(
  kafka: Kafka,
  topic: string,
  visit: (record: PositionedRecord) => void | Promise<void>,
  { since = 0, atOnce = 1 }: ReadOptions = {},
): Promise<void> {
  const partitions = await withAdmin(kafka, async (admin) => {
    if (!(await admin.listTopics()).includes(topic)) return [];
    const ends = await admin.fetchTopicOffsets(topic);
    const begins = since > 0 ? await admin.fetchTopicOffsetsByTimestamp(topic, since) : [];
    return ends.map(({ partition, low, high }) => {
      const begin = begins.find((one) => one.partition === partition);
      return { partition, first: Number(begin?.offset ?? low), end: Number(high) };
    });
  });
  const rest = partitions.values();
  let failed = false;
  // Not on one tail: kafkajs leaves connections open where several readers look up the leaders at the same time.
  await inParallel(Array.from({ length: atOnce }), atOnce, async () => {
    const tail = createTail(kafka);
    try {
      for (const { partition, first, end } of rest) {
        for await (const record of tail.range({ topic, partition, offset: first }, end)) {
          if (failed) return;
          const done = visit({ topic, partition, ...record });
          if (done) await done;
        }
      }
    } catch (error) {
      failed = true;
      throw error;
    } finally {
      await tail.close();
    }
  });
}

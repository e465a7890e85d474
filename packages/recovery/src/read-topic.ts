import type { Position, ReceivedRecord } from '@video-pipeline/frame';
import { createTail, type Kafka, type StoredRecord, withAdmin } from '@video-pipeline/kafka';

export type PositionedRecord = ReceivedRecord & Position & Pick<StoredRecord, 'timestamp' | 'refusal'>;

/**
 * Reads a topic from its oldest record to the newest one at the time of the call, one partition after the other, in
 * order. Records that expire meanwhile are left out.
 * @param topic a topic that doesn't exist counts as empty
 * @throws TailError when a partition can't be read
 */
export async function readTopic(
  kafka: Kafka,
  topic: string,
  visit: (record: PositionedRecord) => void | Promise<void>,
): Promise<void> {
  const partitions = await withAdmin(kafka, async (admin) =>
    (await admin.listTopics()).includes(topic) ? await admin.fetchTopicOffsets(topic) : [],
  );
  const tail = createTail(kafka);
  try {
    for (const { partition, low, high } of partitions) {
      const records = tail.range({ topic, partition, offset: Number(low) }, Number(high));
      for await (const record of records) await visit({ topic, partition, ...record });
    }
  } finally {
    await tail.close();
  }
}

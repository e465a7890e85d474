import { randomUUID } from 'node:crypto';
import type { Place, ReceivedRecord } from '@video-pipeline/frame';
import { type Kafka, type Refusal, refusalOf, withAdmin } from '@video-pipeline/kafka';

export interface PlacedRecord extends ReceivedRecord, Place {
  /** Epoch milliseconds. */
  timestamp: number;
  /** Given where this stands for records that can't be delivered: the reason, and their offsets. */
  refusal?: Refusal | undefined;
}

/**
 * Reads a topic from its oldest record to the newest one at the time of the call, each partition in order. It uses a
 * consumer group of its own, which is deleted afterwards.
 * @param topic a topic that doesn't exist counts as empty
 */
export async function readTopic(
  kafka: Kafka,
  topic: string,
  visit: (record: PlacedRecord) => void | Promise<void>,
): Promise<void> {
  await withAdmin(kafka, async (admin) => {
    const groupId = `read-${randomUUID()}`;
    if (!(await admin.listTopics()).includes(topic)) return;
    const ends = new Map<number, number>();
    for (const { partition, low, high } of await admin.fetchTopicOffsets(topic)) {
      if (Number(high) > Number(low)) ends.set(partition, Number(high));
    }
    if (ends.size === 0) return;
    await readTo(kafka, topic, groupId, ends, visit);
    await admin.deleteGroups([groupId]);
  });
}

async function readTo(
  kafka: Kafka,
  topic: string,
  groupId: string,
  ends: Map<number, number>,
  visit: (record: PlacedRecord) => void | Promise<void>,
): Promise<void> {
  // A consumer that has to join its group again starts from the beginning, since it commits nothing.
  const next = new Map<number, number>();
  const consumer = kafka.consumer({ groupId, maxWaitTimeInMs: 100 });
  await consumer.connect();
  try {
    await consumer.subscribe({ topic, fromBeginning: true });
    await new Promise<void>((resolve, reject) => {
      // After a temporary fault, kafkajs restarts by itself.
      consumer.on(consumer.events.CRASH, ({ payload }) => {
        if (!payload.restart) reject(payload.error);
      });
      // This event comes also for batches without records to deliver.
      consumer.on(consumer.events.END_BATCH_PROCESS, ({ payload: { partition, lastOffset } }) => {
        const end = ends.get(partition);
        if (end !== undefined && Number(lastOffset) + 1 >= end) ends.delete(partition);
        if (ends.size === 0) resolve();
      });
      const reading = consumer.run({
        autoCommit: false,
        eachBatch: async ({ batch, heartbeat }) => {
          const end = ends.get(batch.partition);
          if (end === undefined) return;
          for (const message of batch.messages) {
            const offset = Number(message.offset);
            if (offset >= end) break;
            if (offset < (next.get(batch.partition) ?? 0)) continue;
            await visit({
              topic,
              partition: batch.partition,
              offset,
              timestamp: Number(message.timestamp),
              key: message.key,
              value: message.value,
              headers: message.headers,
              refusal: refusalOf(message),
            });
            next.set(batch.partition, offset + 1);
            await heartbeat();
          }
        },
      });
      reading.catch(reject);
    });
  } finally {
    await consumer.disconnect();
  }
}

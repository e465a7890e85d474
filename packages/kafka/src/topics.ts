import { setTimeout as sleep } from 'node:timers/promises';
import type { Admin } from 'kafkajs';

interface TopicSpec {
  topic: string;
  partitions: number;
}

/** Largest record batch, bytes: enough for a send of the 25 largest frames with their headers, which is one batch. */
export const MAX_MESSAGE_BYTES = 6 * 1024 * 1024;
/** How long the brokers may take to elect leaders for new partitions, and how often they are asked, milliseconds. */
const LEADERS_MS = 10_000;
const POLL_MS = 100;

/**
 * Creates the topics that do not exist. Existing topics stay as they are.
 * @throws the brokers' error, or when a partition has no leader after {@link LEADERS_MS}
 */
export async function ensureTopics(admin: Admin, specs: TopicSpec[]): Promise<void> {
  const existing = new Set(await admin.listTopics());
  const missing = specs.filter(({ topic }) => !existing.has(topic));
  if (missing.length === 0) return;
  await admin.createTopics({
    // kafkajs would wait for the end of an error that `leaderless.ts` hides.
    waitForLeaders: false,
    topics: missing.map(({ topic, partitions }) => ({
      topic,
      numPartitions: partitions,
      // The brokers' default.
      replicationFactor: -1,
      configEntries: [
        { name: 'max.message.bytes', value: String(MAX_MESSAGE_BYTES) },
        // The broker stores batches uncompressed: so the limit above is of the bytes that any reader gets.
        { name: 'compression.type', value: 'uncompressed' },
        // Time by the broker, as Kafka deletes by it: the clock of a producer's host may be hours behind or ahead.
        { name: 'message.timestamp.type', value: 'LogAppendTime' },
      ],
    })),
  });
  const names = missing.map(({ topic }) => topic);
  await leadersOf(admin, names);
}

async function leadersOf(admin: Admin, topics: string[]): Promise<void> {
  for (const end = performance.now() + LEADERS_MS; ; await sleep(POLL_MS)) {
    const isLed = await admin.fetchTopicMetadata({ topics }).then(
      (metadata) => metadata.topics.every(({ partitions }) => partitions.every(({ leader }) => leader >= 0)),
      // A broker may not have heard of them yet.
      () => false,
    );
    if (isLed) return;
    if (performance.now() > end)
      throw new Error(`no leader for ${topics.join(', ')} after ${LEADERS_MS / 1000} s`);
  }
}

import { setTimeout as sleep } from 'node:timers/promises';
import type { Admin } from 'kafkajs';

interface TopicSpec {
  topic: string;
  partitions: number;
  /** Left out: as many as the brokers make by default. */
  replication?: number;
  /** Largest record batch, bytes. A send of 25 frames is one batch. */
  maxMessageBytes?: number;
  retentionMs?: number;
}

/** How long the brokers may take to elect leaders for new partitions, and how often they are asked, milliseconds. */
const LEADERS_MS = 10_000;
const ASK_MS = 100;

/**
 * Creates those topics that are not there yet; leaves the others as they are.
 * @throws what the brokers say, or when a partition has no leader after {@link LEADERS_MS}
 */
export async function ensureTopics(admin: Admin, specs: TopicSpec[]): Promise<void> {
  const existing = new Set(await admin.listTopics());
  const missing = specs.filter(({ topic }) => !existing.has(topic));
  if (missing.length === 0) return;
  await admin.createTopics({
    // kafkajs would wait for the end of an error that `leaderless.ts` hides.
    waitForLeaders: false,
    topics: missing.map((spec) => ({
      topic: spec.topic,
      numPartitions: spec.partitions,
      replicationFactor: spec.replication ?? -1,
      configEntries: [
        { name: 'max.message.bytes', value: String(spec.maxMessageBytes ?? 6 * 1024 * 1024) },
        // The broker stores batches uncompressed: so the limit above is of the bytes that any reader gets.
        { name: 'compression.type', value: 'uncompressed' },
        ...(spec.retentionMs ? [{ name: 'retention.ms', value: String(spec.retentionMs) }] : []),
      ],
    })),
  });
  await leadersOf(
    admin,
    missing.map(({ topic }) => topic),
  );
}

async function leadersOf(admin: Admin, topics: string[]): Promise<void> {
  for (const end = performance.now() + LEADERS_MS; ; await sleep(ASK_MS)) {
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

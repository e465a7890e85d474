import type { Admin } from 'kafkajs';

export interface TopicSpec {
  topic: string;
  partitions: number;
  /** Left out: as many as the brokers make by default. */
  replication?: number;
  /** Largest record batch, bytes. A send of 25 frames is one batch. */
  maxMessageBytes?: number;
  retentionMs?: number;
}

/** Creates those topics that are not there yet; leaves the others as they are. */
export async function ensureTopics(admin: Admin, specs: TopicSpec[]): Promise<void> {
  const existing = new Set(await admin.listTopics());
  const missing = specs.filter(({ topic }) => !existing.has(topic));
  if (missing.length === 0) return;
  await admin.createTopics({
    waitForLeaders: true,
    topics: missing.map((spec) => ({
      topic: spec.topic,
      numPartitions: spec.partitions,
      replicationFactor: spec.replication ?? -1,
      configEntries: [
        { name: 'max.message.bytes', value: String(spec.maxMessageBytes ?? 6 * 1024 * 1024) },
        // The broker inflates what producers compress: so the limit above is of what a reader gets, whoever reads.
        { name: 'compression.type', value: 'uncompressed' },
        ...(spec.retentionMs ? [{ name: 'retention.ms', value: String(spec.retentionMs) }] : []),
      ],
    })),
  });
}

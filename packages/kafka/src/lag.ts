import type { Admin } from 'kafkajs';

export interface PartitionLag {
  partition: number;
  /** Next offset the group will read. */
  committed: number;
  /** Offset after the newest record. */
  end: number;
  /** Records the group has yet to finish. */
  lag: number;
}

/** How far a consumer group is behind on each partition of a topic. A group that never committed lags by all of it. */
export async function consumerLag(admin: Admin, groupId: string, topic: string): Promise<PartitionLag[]> {
  const [ends, groups] = await Promise.all([
    admin.fetchTopicOffsets(topic),
    admin.fetchOffsets({ groupId, topics: [topic] }),
  ]);
  const committedBy = new Map(groups[0]?.partitions.map((one) => [one.partition, Number(one.offset)]));
  return ends.map(({ partition, high, low }) => {
    const committed = Math.max(committedBy.get(partition) ?? -1, Number(low));
    return { partition, committed, end: Number(high), lag: Number(high) - committed };
  });
}

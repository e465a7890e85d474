import { setTimeout as sleep } from 'node:timers/promises';
import type { Admin } from 'kafkajs';
import { fetchEnds } from './open-transactions.ts';

export interface PartitionLag {
  partition: number;
  /** Next offset the group will read. */
  committed: number;
  /** Offset after the newest record, also one of a transaction that is open. */
  end: number;
  /** Records the group has yet to finish. */
  lag: number;
}

/** How far a consumer group is behind on each partition of a topic; by all records if it never committed. */
export async function consumerLag(admin: Admin, groupId: string, topic: string): Promise<PartitionLag[]> {
  const [ends, groups] = await Promise.all([
    fetchEnds(admin, topic),
    admin.fetchOffsets({ groupId, topics: [topic] }),
  ]);
  const committedBy = new Map(groups[0]?.partitions.map((one) => [one.partition, Number(one.offset)]));
  return ends.map(({ partition, high, low }) => {
    const committed = Math.max(committedBy.get(partition) ?? -1, Number(low));
    return { partition, committed, end: Number(high), lag: Number(high) - committed };
  });
}

/** Whether a group has ever had a member. Kafka describes a group of the new protocol (KIP-848) to kafkajs as dead. */
export async function groupExists(admin: Admin, groupId: string): Promise<boolean> {
  return (await admin.listGroups()).groups.some((one) => one.groupId === groupId);
}

/** Longest wait for Kafka's description of a group, milliseconds. */
const TIMEOUT_MS = 2_000;

/**
 * Checks that a consumer group has a member. The broker removes a member that hangs after some seconds.
 * @param ask puts a question to Kafka
 * @returns why this is unknown: Kafka does not answer, or the group never had a member
 * @throws Error where the group has no member any more
 */
export async function askGroup(
  groupId: string,
  ask: <Answer>(question: (admin: Admin) => Promise<Answer>) => Promise<Answer>,
): Promise<string | undefined> {
  const late = sleep(TIMEOUT_MS, undefined, { ref: false });
  const describe = async (admin: Admin) => {
    const [{ state, members } = { state: 'Dead', members: [] }] = (await admin.describeGroups([groupId]))
      .groups;
    return { state, members, exists: state !== 'Dead' || (await groupExists(admin, groupId)) };
  };
  const answer = await Promise.race([ask(describe).catch(() => undefined), late]);
  if (!answer) return 'Kafka does not answer';
  if (answer.members.length > 0) return undefined;
  if (!answer.exists) return `nobody has read as ${groupId} yet`;
  if (answer.state === 'Dead') return `${groupId} is a group of KIP-848, whose members can't be asked for`;
  throw new Error(`nobody reads as consumer group ${groupId}`);
}

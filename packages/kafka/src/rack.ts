import type { Cluster } from 'kafkajs';
import { clusterOf } from './cluster.ts';
import type { Kafka, KafkaLog } from './connect.ts';

/** Longest wait for the metadata of a task, milliseconds. */
const METADATA_MS = 5_000;

/**
 * The rack of this process, in the sense of the brokers' `broker.rack`.
 * @param setting KAFKA_RACK: the rack itself, or `zone=rack,...` for a task on ECS, which asks for its own zone
 * @returns undefined if it is not known: every broker is then as near as any other
 * @see https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4-fargate.html
 */
export async function ownRack(
  setting: string | undefined,
  log: KafkaLog,
  metadata = process.env.ECS_CONTAINER_METADATA_URI_V4,
): Promise<string | undefined> {
  if (!setting?.includes('=')) return setting;
  const racks = new Map(setting.split(',').map((pair) => pair.split('=') as [string, string]));
  try {
    const answer = await fetch(`${metadata}/task`, { signal: AbortSignal.timeout(METADATA_MS) });
    const { AvailabilityZone: zone }: { AvailabilityZone?: string } = await answer.json();
    const rack = zone === undefined ? undefined : racks.get(zone);
    if (!rack) throw new Error(`KAFKA_RACK names no rack of the zone ${zone}`);
    return rack;
  } catch (error) {
    // Without the rack, traffic between zones costs more. Nothing else changes.
    log.warn('the rack of this task is not known', { reason: (error as Error).message });
    return undefined;
  }
}

/** Ids of the brokers in a rack. */
export async function brokersIn(kafka: Kafka, rack: string): Promise<ReadonlySet<number>> {
  const cluster = clusterOf(kafka) as Cluster & {
    brokerPool: { metadata: { brokers: { nodeId: number; rack: string | null }[] } | null };
  };
  try {
    await cluster.connect();
    await cluster.refreshMetadata();
    const brokers = cluster.brokerPool.metadata?.brokers ?? [];
    return new Set(brokers.filter((broker) => broker.rack === rack).map(({ nodeId }) => nodeId));
  } finally {
    await cluster.disconnect().catch(() => {});
  }
}

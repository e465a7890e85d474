import { setTimeout as sleep } from 'node:timers/promises';
import BrokerPool from 'kafkajs/src/cluster/brokerPool.js';
import Cluster from 'kafkajs/src/cluster/index.js';
import Metadata from 'kafkajs/src/protocol/requests/metadata/index.js';

/** How soon metadata are fetched again where a partition has no leader, milliseconds. */
const REFETCH_MS = 1_000;
/** How long, and how often, brokers are asked again, milliseconds. */
const AGAIN = { withinMs: 5_000, retryMs: 250 };
/** kafkajs' errors when a partition's leader moved, or was not yet elected. */
const MOVED = /^(NOT_LEADER_FOR_PARTITION|LEADER_NOT_AVAILABLE|KafkaJSBrokerNotFound|KafkaJSConnection.*)$/;

/**
 * kafkajs 2.2.4 rejects all metadata while one partition of the topics lacks a leader. The other partitions can't be
 * written or read either. Here the other partitions are usable, and the metadata are fetched again soon.
 */
export function allowLeaderlessPartitions(): void {
  const { protocol } = Metadata;
  Metadata.protocol = (version) => (request) => {
    const { response, ...definition } = protocol(version)(request);
    const parse: typeof response.parse = ({ topicMetadata, ...data }) =>
      response.parse({
        ...data,
        topicMetadata: topicMetadata.map(({ partitionMetadata, ...topic }) => ({
          ...topic,
          partitionMetadata: partitionMetadata.map((partition) => ({ ...partition, partitionErrorCode: 0 })),
        })),
      });
    return { ...definition, response: { ...response, parse } };
  };
  const { refreshMetadata } = BrokerPool.prototype;
  BrokerPool.prototype.refreshMetadata = async function (topics) {
    await refreshMetadata.call(this, topics);
    const partitions =
      this.metadata?.topicMetadata.flatMap(({ partitionMetadata }) => partitionMetadata) ?? [];
    if (partitions.some(({ leader }) => leader < 0)) this.metadataExpireAt = Date.now() + REFETCH_MS;
  };
}

/**
 * kafkajs 2.2.4 fails at once when it asks for a partition's offsets and the broker does not lead that partition. An
 * audit, a lag or a replay then fails while a broker restarts, and just after a topic was created. Here the new leader
 * is looked up.
 */
export function lookUpMovedLeaders(): void {
  const { fetchTopicsOffset } = Cluster.prototype;
  Cluster.prototype.fetchTopicsOffset = function (topics) {
    return untilLed(this, () => fetchTopicsOffset.call(this, topics));
  };
}

/**
 * Asks brokers again, for some seconds, while a leader moves or connections break. After a Lambda function was frozen,
 * every connection may be dead, and each is noticed only when it is used.
 */
export async function untilLed<Answer>(
  cluster: Pick<typeof Cluster.prototype, 'refreshMetadata'>,
  ask: () => Promise<Answer>,
): Promise<Answer> {
  let end: number | undefined;
  while (true) {
    try {
      if (end !== undefined) await cluster.refreshMetadata();
      return await ask();
    } catch (error) {
      const { name, type } = error as Error & { type?: string };
      end ??= performance.now() + AGAIN.withinMs;
      if (performance.now() > end || !MOVED.test(type ?? name)) throw error;
    }
    await sleep(AGAIN.retryMs);
  }
}

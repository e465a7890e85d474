import { setTimeout as sleep } from 'node:timers/promises';
import BrokerPool from 'kafkajs/src/cluster/brokerPool.js';
import Cluster from 'kafkajs/src/cluster/index.js';
import Metadata from 'kafkajs/src/protocol/requests/metadata/index.js';

/** How soon metadata are fetched again where a partition has no leader, milliseconds. */
const REFETCH_MS = 1_000;
/** How long, and how often, the first and last offsets of partitions are asked for, milliseconds. */
const OFFSETS = { withinMs: 5_000, retryMs: 250 };
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
  Cluster.prototype.fetchTopicsOffset = async function (topics) {
    const end = performance.now() + OFFSETS.withinMs;
    while (true) {
      try {
        return await fetchTopicsOffset.call(this, topics);
      } catch (error) {
        const { name, type } = error as Error & { type?: string };
        if (performance.now() > end || !MOVED.test(type ?? name)) throw error;
      }
      await sleep(OFFSETS.retryMs);
      await this.refreshMetadata();
    }
  };
}

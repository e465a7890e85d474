import BrokerPool from 'kafkajs/src/cluster/brokerPool.js';
import Metadata from 'kafkajs/src/protocol/requests/metadata/index.js';

/** When the leader of a partition that had none is asked for again, milliseconds. */
const AGAIN_MS = 1_000;

/**
 * kafkajs 2.2.4 takes no metadata at all while one partition of the topics lacks a leader: nothing can be sent to the others
 * or read from them either. Here the others are known, and the brokers are asked again soon.
 */
export function bearLeaderlessPartitions(): void {
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
    if (partitions.some(({ leader }) => leader < 0)) this.metadataExpireAt = Date.now() + AGAIN_MS;
  };
}

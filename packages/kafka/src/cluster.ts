import type { Cluster } from 'kafkajs';
import type { Kafka } from './connect.ts';

/**
 * The client's view of the brokers. kafkajs hands it to a consumer's partition assigners, and nowhere else in its
 * public interface; the consumer itself is never connected.
 */
export function clusterOf(kafka: Kafka): Cluster {
  let cluster: Cluster | undefined;
  kafka.consumer({
    groupId: 'tail',
    allowAutoTopicCreation: false,
    partitionAssigners: [
      (config) => {
        cluster = config.cluster;
        const protocol = () => ({ name: 'none', metadata: Buffer.alloc(0) });
        return { name: 'none', version: 0, assign: async () => [], protocol };
      },
    ],
  });
  if (!cluster) throw new Error('this kafkajs hands its partition assigners no cluster');
  return cluster;
}

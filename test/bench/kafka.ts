import { connectKafka, ensureTopics } from '@video-pipeline/kafka';

/** A client of the bench's own broker at `bootstrap`, which asks for no password. */
export function benchKafka(bootstrap: string) {
  return connectKafka('bench', console, {
    KAFKA_BOOTSTRAP_SERVERS: bootstrap,
    KAFKA_AUTH: 'none',
    AWS_REGION: '',
  });
}

export async function makeTopics(bootstrap: string, topics: string[], partitions: number): Promise<void> {
  const admin = benchKafka(bootstrap).admin();
  await admin.connect();
  await ensureTopics(
    admin,
    topics.map((topic) => ({ topic, partitions })),
  );
  await admin.disconnect();
}

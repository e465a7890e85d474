import type { Admin, ITopicConfig } from 'kafkajs';
import { expect, test } from 'vitest';
import { ensureTopics } from './topics.ts';

test('missing topics are created, and store records uncompressed', async () => {
  const made: ITopicConfig[] = [];
  const admin = {
    listTopics: async () => ['there'],
    createTopics: async ({ topics }: { topics: ITopicConfig[] }) => void made.push(...topics),
    fetchTopicMetadata: async () => ({ topics: [] }),
  } as unknown as Admin;
  await ensureTopics(admin, [
    { topic: 'there', partitions: 1 },
    { topic: 'frames', partitions: 6 },
  ]);
  expect(made).toMatchObject([{ topic: 'frames', numPartitions: 6 }]);
  expect(made[0]?.configEntries).toContainEqual({ name: 'compression.type', value: 'uncompressed' });
  expect(made[0]?.configEntries).toContainEqual({ name: 'message.timestamp.type', value: 'LogAppendTime' });
});

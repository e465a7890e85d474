import { expect, test, vi } from 'vitest';
import { fakeMember } from '../test/fake-cluster.ts';
import './connect.ts';

test('records behind an open transaction of over a minute are logged once a minute, until they are delivered', async () => {
  const batch = { topic: 't', partition: 3, fetchedOffset: '12', highWatermark: '20' };
  const ready = { ...batch, fetchedOffset: '20' };
  const logged: unknown[] = [];
  const logger = { error: (...entry: unknown[]) => void logged.push(entry) };
  let partitionData: { messages: object[] } & Record<string, unknown> = { ...batch, messages: [] };
  const group = fakeMember({
    logger,
    cluster: {
      async refreshMetadataIfNecessary() {},
      findTopicPartitionMetadata: () => [{ partitionId: 3, leader: 1 }],
      findBroker: async () => ({
        fetch: async () => ({ responses: [{ topicName: 't', partitions: [partitionData] }] }),
      }),
    },
    subscriptionState: {
      assigned: () => [{ topic: 't', partitions: [3] }],
      active: () => [{ topic: 't', partitions: [3] }],
      isPaused: () => false,
    },
    offsetManager: {
      async resolveOffsets() {},
      committedOffsets: () => ({ t: { 3: '12' } }),
      nextOffset: () => position,
    },
  });
  let position = '12';
  let now = 0;
  vi.spyOn(performance, 'now').mockImplementation(() => now);
  const fetchAt = async (seconds: number) => {
    now = seconds * 1000;
    await group.fetch('1');
  };
  for (const seconds of [0, 1, 59, 60, 61, 119]) await fetchAt(seconds);
  const facts = { topic: 't', partition: 3, offset: '12', records: 8 };
  expect(logged).toEqual([['a transaction that a producer has not ended holds back records', facts]]);
  await fetchAt(121);
  expect(logged).toHaveLength(2);
  partitionData = { ...ready, messages: [{ offset: '12' }] };
  await fetchAt(182);
  // At the end of the partition nothing is held back.
  position = '20';
  partitionData = { ...ready, messages: [] };
  for (const seconds of [183, 300, 400]) await fetchAt(seconds);
  expect(logged).toHaveLength(2);
});

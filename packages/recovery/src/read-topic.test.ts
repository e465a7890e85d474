import { setImmediate as turn } from 'node:timers/promises';
import type { Kafka } from '@video-pipeline/kafka';
import { expect, test } from 'vitest';
import { readTopic } from './read-topic.ts';

type Fetch = { topics: [{ partitions: [{ partition: number; fetchOffset: string }] }] };
type Consumer = { partitionAssigners: [(config: object) => void] };

/** Partitions of ten records each, a second apart, beginning at offset 5. Partition 1 is older than partition 0. */
function kafkaOf(partitions: number) {
  const tails = { open: 0, closed: 0 };
  const nothing = async () => {};
  const timeOf = (partition: number, offset: number) => 1_000 * (offset - 10 * partition);
  const messages = (partition: number, first: number) =>
    Array.from({ length: 15 - first }, (_, index) => ({
      ...{ offset: String(first + index), timestamp: String(timeOf(partition, first + index)) },
      ...{ key: null, value: null, headers: {}, isControlRecord: false },
    }));
  const all = Array.from({ length: partitions }, (_, partition) => partition);
  const cluster = {
    ...{ connect: nothing, disconnect: async () => void tails.closed++, addTargetTopic: nothing },
    refreshMetadataIfNecessary: nothing,
    fetchTopicsOffset: async () => [{ partitions: [{ offset: '5' }] }],
    findLeaderForPartitions: () => ({ 0: [0] }),
    findBroker: async () => ({
      fetch: async ({
        topics: [
          {
            partitions: [one],
          },
        ],
      }: Fetch) => ({
        responses: [{ partitions: [{ messages: messages(one.partition, Number(one.fetchOffset)) }] }],
      }),
    }),
  };
  const admin = {
    ...{ connect: nothing, disconnect: nothing, listTopics: async () => ['t'] },
    fetchTopicOffsets: async () => all.map((partition) => ({ partition, low: '5', high: '15' })),
    // As Kafka answers: the first record of that time or later, otherwise the end.
    fetchTopicOffsetsByTimestamp: async (_topic: string, time: number) =>
      all.map((partition) => {
        const offsets = Array.from({ length: 10 }, (_, index) => 5 + index);
        const first = offsets.find((offset) => timeOf(partition, offset) >= time) ?? 15;
        return { partition, offset: String(first) };
      }),
  };
  const consumer = ({ partitionAssigners: [assign] }: Consumer) => {
    tails.open++;
    assign({ cluster });
  };
  return { kafka: { admin: () => admin, consumer } as unknown as Kafka, tails };
}

test('a topic is read in each partition from the first record at or after a time', async () => {
  const read: string[] = [];
  const visit = ({ partition, offset }: { partition: number; offset: number }) =>
    void read.push(`${partition}-${offset}`);
  await readTopic(kafkaOf(2).kafka, 't', visit, { since: 12_500 });
  expect(read).toEqual(['0-13', '0-14']);
  await readTopic(kafkaOf(2).kafka, 't', visit, { since: -1 });
  expect(read).toHaveLength(2 + 20);
});

test('a slow reader delays only its own partition', async () => {
  const read: string[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const { kafka, tails } = kafkaOf(3);
  const reading = readTopic(
    kafka,
    't',
    ({ partition, offset }) => {
      read.push(`${partition}-${offset}`);
      if (partition === 2 && offset === 14) resolve();
      return partition === 0 && offset === 5 ? promise : undefined;
    },
    { atOnce: 2 },
  );
  await reading;
  expect(read.indexOf('0-6')).toBeGreaterThan(read.indexOf('2-14'));
  expect(read).toHaveLength(30);
  // Readers of one tail would leave connections open.
  expect(tails).toEqual({ open: 2, closed: 2 });
});

test('an error of one reader ends the others within a record or two', async () => {
  const { kafka, tails } = kafkaOf(3);
  const read: string[] = [];
  const reading = readTopic(
    kafka,
    't',
    async ({ partition, offset }) => {
      read.push(`${partition}-${offset}`);
      await turn();
      if (partition === 1 && offset === 6) throw new Error('no room');
    },
    { atOnce: 2 },
  );
  await expect(reading).rejects.toThrow('no room');
  // Of thirty records.
  expect(read.length).toBeLessThan(8);
  expect(tails).toEqual({ open: 2, closed: 2 });
});

import { setImmediate } from 'node:timers/promises';
import { expect, test, vi } from 'vitest';
import { startFakeCluster } from '../test/fake-cluster.ts';
import { connectKafka, type Kafka } from './connect.ts';
import { orderedProducer } from './producer.ts';
import { createTail, TailError } from './tail.ts';

const silent = { warn() {}, error() {} };

test("the tail reads kafkajs's list of brokers, and an unreachable broker is an error with its address", async () => {
  const settings = { KAFKA_BOOTSTRAP_SERVERS: '127.0.0.1:1', KAFKA_AUTH: 'none', AWS_REGION: '' } as const;
  const tail = createTail(connectKafka('test', silent, settings, { retry: { retries: 0 } }));
  const error = await tail
    .newest('detections', 'yard', 10)
    .next()
    .catch((thrown) => thrown);
  expect(error).toBeInstanceOf(TailError);
  expect(error.message).toMatch(/^can't read the end of detections for 'yard': .*127\.0\.0\.1:1/);
});

test.each([
  ['seconds', 0],
  ['minutes', 400_000],
])('connections that broke while a Lambda was frozen for %s fail no read and no send', async (_, ms) => {
  const cluster = await startFakeCluster({ topic: 't', brokers: 3, leaders: [0, 1, 2], answer: () => 0 });
  const settings = {
    KAFKA_BOOTSTRAP_SERVERS: cluster.bootstrap,
    KAFKA_AUTH: 'none',
    AWS_REGION: '',
  } as const;
  const kafka = connectKafka('test', silent, settings);
  const [tail, producer] = [createTail(kafka), orderedProducer(kafka)];
  const use = async () => {
    const keys = Array.from('abcdefgh');
    for (const key of keys) expect(await Array.fromAsync(tail.newest('t', key, 9))).toEqual([]);
    await producer.send({ topic: 't', messages: keys.map((key) => ({ key, value: 'v' })) });
  };
  await use();
  expect(new Set(cluster.stored.map(({ broker }) => broker)).size).toBe(3);
  // What is sent over a dead connection is answered by a reset.
  for (const socket of cluster.sockets)
    socket.removeAllListeners('data').on('data', () => socket.resetAndDestroy());
  const [epoch, since] = [Date.now, performance.now.bind(performance)];
  vi.spyOn(Date, 'now').mockImplementation(() => epoch() + ms);
  vi.spyOn(performance, 'now').mockImplementation(() => since() + ms);
  try {
    await use();
  } finally {
    vi.restoreAllMocks();
    await Promise.all([tail.close(), producer.disconnect(), cluster.close()]);
  }
});

test('many records by their positions are fetched a few at a time, each with little of what follows it', async () => {
  let [running, most] = [0, 0];
  const limits = new Set<number>();
  const broker = {
    async fetch({ topics }: { topics: { partitions: { fetchOffset: string; maxBytes: number }[] }[] }) {
      const [{ fetchOffset: offset = '', maxBytes = 0 } = {}] = topics[0]?.partitions ?? [];
      limits.add(maxBytes);
      most = Math.max(most, ++running);
      await setImmediate();
      running--;
      const message = { offset, timestamp: '0', key: null, value: null, headers: {}, isControlRecord: false };
      return { responses: [{ partitions: [{ messages: [message] }] }] };
    },
  };
  const cluster = {
    async connect() {},
    async addTargetTopic() {},
    async refreshMetadataIfNecessary() {},
    findLeaderForPartitions: () => ({ 1: [0] }),
    findBroker: async () => broker,
    fetchTopicsOffset: async ([asked]: { fromBeginning: boolean }[]) => [
      { partitions: [{ offset: asked?.fromBeginning ? '0' : '99999' }] },
    ],
  };
  const consumer = ({ partitionAssigners: [assigner] }: { partitionAssigners: ((of: object) => void)[] }) =>
    assigner?.({ cluster });
  const tail = createTail({ consumer } as unknown as Kafka);
  const positions = Array.from({ length: 30 }, (_, n) => ({ topic: 't', partition: 0, offset: 100 * n }));
  const records = await tail.at(positions);
  expect(records.map(({ offset }) => offset)).toEqual(positions.map(({ offset }) => offset));
  expect(most).toBeLessThanOrEqual(4);
  expect(Math.max(...limits)).toBeLessThanOrEqual(4 * 1024 * 1024);
});

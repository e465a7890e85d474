import { afterEach, expect, test, vi } from 'vitest';
import { startFakeCluster } from '../test/fake-cluster.ts';
import { connectKafka } from './connect.ts';
import { orderedProducer, TooLargeError } from './producer.ts';

const TOPIC = 'video-frames';
const NOT_LEADER = 6;
const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function setup(
  options: Omit<Parameters<typeof startFakeCluster>[0], 'topic'>,
  idempotent = false,
  rack?: string,
) {
  const cluster = await startFakeCluster({ topic: TOPIC, ...options });
  const settings = {
    KAFKA_BOOTSTRAP_SERVERS: cluster.bootstrap,
    KAFKA_AUTH: 'none',
    AWS_REGION: '',
  } as const;
  const retry = { initialRetryTime: 20, maxRetryTime: 50, retries: 3 };
  const silent = { warn() {}, error() {} };
  const producer = orderedProducer(connectKafka('test', silent, settings, { retry, requestTimeout: 500 }), {
    idempotent,
    rack,
  });
  closing.push(cluster.close, () => producer.disconnect());
  await producer.connect();
  return { cluster, producer };
}

const messagesOf = (keys: string[], each: number) =>
  Array.from({ length: keys.length * each }, (_, index) => ({
    key: keys[index % keys.length] ?? '',
    value: `<${keys[index % keys.length]}-${Math.floor(index / keys.length)}>`,
  }));

/** Values that a partition holds, in order. */
const valuesOf = (stored: { partition: number; batch: Buffer }[], partition: number) =>
  stored
    .filter((one) => one.partition === partition)
    .flatMap(({ batch }) => batch.toString('latin1').match(/<[a-z]+-\d+>/g) ?? []);

/** Of two partitions, `door` is on 0 and `yard` on 1. */
const KEYS = ['door', 'yard'];

test.each([true, false])(
  'a partition whose leader moves to a known broker is sent to that broker (topic known: %s)',
  async (known) => {
    let moved = !known;
    const { cluster, producer } = await setup({
      brokers: 2,
      leaders: [0, 1],
      answer({ broker, partition }) {
        if (moved && partition === 1 && cluster.leaders[1] === 1) {
          // Partition 0 has its answer before kafkajs asks for the leaders again.
          setTimeout(() => (cluster.leaders[1] = 0), 10);
        }
        const leads = cluster.leaders[partition] === broker && !(moved && broker === 1);
        return leads ? 0 : NOT_LEADER;
      },
    });
    if (known) await producer.send({ topic: TOPIC, messages: messagesOf(KEYS, 1) });
    moved = true;
    const before = cluster.stored.length;
    await producer.send({ topic: TOPIC, messages: messagesOf(KEYS, 5) });
    const stored = cluster.stored.slice(before);
    for (const [partition, key] of KEYS.entries()) {
      expect(valuesOf(stored, partition)).toEqual([0, 1, 2, 3, 4].map((number) => `<${key}-${number}>`));
    }
  },
);

test('after a failure only the unconfirmed partitions of an array are sent again, and later arrays completely', async () => {
  let isSilent = false;
  const { cluster, producer } = await setup({
    brokers: 2,
    leaders: [0, 1],
    answer: ({ broker }) => (isSilent && broker === 1 ? undefined : 0),
  });
  await producer.send({ topic: TOPIC, messages: messagesOf(KEYS, 1) });
  const before = cluster.stored.length;
  const messages = messagesOf(KEYS, 2);
  isSilent = true;
  await expect(producer.send({ topic: TOPIC, messages })).rejects.toThrow();
  isSilent = false;
  await producer.send({ topic: TOPIC, messages });
  expect(valuesOf(cluster.stored.slice(before), 0)).toEqual(['<door-0>', '<door-1>']);
  expect(valuesOf(cluster.stored.slice(before), 1)).toEqual(['<yard-0>', '<yard-1>']);
  const confirmed = await producer.send({ topic: TOPIC, messages });
  expect(confirmed.map(({ partition }) => partition).sort()).toEqual([0, 1]);
  expect(cluster.stored).toHaveLength(before + 4);
});

test('records that a response does not confirm are sent again by a new client, and the others are not', async () => {
  let isPassedOver = false;
  const { cluster, producer } = await setup({
    brokers: 2,
    leaders: [0, 1],
    answer: ({ partition }) => (isPassedOver && partition === 1 ? null : 0),
  });
  await producer.send({ topic: TOPIC, messages: messagesOf(KEYS, 1) });
  const before = cluster.stored.length;
  const messages = messagesOf(KEYS, 2);
  isPassedOver = true;
  const sending = producer.send({ topic: TOPIC, messages });
  await expect(sending).rejects.toThrow('video-frames-1: no broker confirms 2 records: []');
  isPassedOver = false;
  await producer.send({ topic: TOPIC, messages });
  expect(valuesOf(cluster.stored.slice(before), 0)).toEqual(['<door-0>', '<door-1>']);
  expect(valuesOf(cluster.stored.slice(before), 1)).toEqual(['<yard-0>', '<yard-1>']);
});

test('records of a partition that was removed are refused once, and then go to the partition of their key', async () => {
  const { cluster, producer } = await setup({
    brokers: 1,
    leaders: [0, 0],
    answer: ({ partition }) => (partition < cluster.leaders.length ? 0 : NOT_LEADER),
  });
  await producer.send({ topic: TOPIC, messages: messagesOf(KEYS, 1) });
  cluster.leaders.pop();
  const messages = messagesOf(KEYS, 2);
  const before = cluster.stored.length;
  await expect(producer.send({ topic: TOPIC, messages })).rejects.toThrow(
    'video-frames-1: no broker confirms 2 records',
  );
  await producer.send({ topic: TOPIC, messages });
  const values = valuesOf(cluster.stored.slice(before), 0);
  for (const key of KEYS) expect(values).toEqual(expect.arrayContaining([`<${key}-0>`, `<${key}-1>`]));
});

test('an error that a retry can not solve is thrown, although another partition accepted its records', async () => {
  const NOT_AUTHORIZED = 29;
  const { cluster, producer } = await setup({
    brokers: 2,
    leaders: [0, 1],
    answer: ({ partition }) => (partition === 0 ? 0 : NOT_AUTHORIZED),
  });
  await expect(producer.send({ topic: TOPIC, messages: messagesOf(KEYS, 3) })).rejects.toThrow(/authorized/i);
  expect(valuesOf(cluster.stored, 0)).toHaveLength(3);
});

test('a send connects the producer, and the next send connects again after a failure', async () => {
  const connect = vi.fn().mockRejectedValue(new Error('no broker'));
  const producer = orderedProducer({ producer: () => ({ connect }) } as never);
  expect(await producer.send({ topic: TOPIC, messages: [] })).toEqual([]);
  expect(connect).not.toHaveBeenCalled();
  for (const calls of [1, 2]) {
    const sent = producer.send({ topic: TOPIC, messages: messagesOf(KEYS, 1) });
    await expect(sent).rejects.toThrow('no broker');
    expect(connect).toHaveBeenCalledTimes(calls);
  }
});

test('records that are too large are refused with their numbers, and the others are sent in order', async () => {
  const TOO_LARGE = 10;
  const { cluster, producer } = await setup({
    brokers: 2,
    leaders: [0, 1],
    answer: ({ batch }) => (batch.length > 300 || batch.includes('<door-1>') ? TOO_LARGE : 0),
  });
  const messages = messagesOf(KEYS, 20);
  const refused = await producer.send({ topic: TOPIC, messages }).catch((error) => error);
  expect(refused).toBeInstanceOf(TooLargeError);
  expect(refused.records).toEqual([messages[2]]);
  expect(refused.message).toContain(
    "video-frames: the brokers refuse records that are larger than max.message.bytes: 'door'",
  );
  const numbers = Array.from({ length: 20 }, (_, number) => number);
  expect(valuesOf(cluster.stored, 0)).toEqual(
    numbers.filter((one) => one !== 1).map((one) => `<door-${one}>`),
  );
  expect(valuesOf(cluster.stored, 1)).toEqual(numbers.map((one) => `<yard-${one}>`));
});

test('a hung broker is disconnected: its partition continues with the next leader, and others do not wait', async () => {
  let hangs = false;
  const { cluster, producer } = await setup({
    brokers: 2,
    leaders: [0, 1],
    answer: ({ broker }) => (hangs && broker === 1 ? undefined : 0),
  });
  await producer.send({ topic: TOPIC, messages: messagesOf(KEYS, 1) });
  hangs = true;
  cluster.leaders[1] = 0;
  const held = producer.send({ topic: TOPIC, messages: messagesOf(['yard'], 3) });
  await producer.send({ topic: TOPIC, messages: messagesOf(['door'], 3) });
  expect(valuesOf(cluster.stored, 1)).toHaveLength(1);
  await held;
  expect(valuesOf(cluster.stored, 1).slice(1)).toEqual(['<yard-0>', '<yard-1>', '<yard-2>']);
});

test('idempotent: when a leader hangs, one partition waits for its response, and no other partition does', async () => {
  let hangs = false;
  let asked = 0;
  const { cluster, producer } = await setup(
    {
      brokers: 2,
      leaders: [0, 0, 0, 0],
      answer({ broker }) {
        if (broker === 1 && hangs) asked++;
        return broker === 1 && hangs ? undefined : 0;
      },
    },
    true,
  );
  await producer.send({ topic: TOPIC, messages: messagesOf(KEYS, 1) });
  const keys = Array.from({ length: 26 }, (_, index) => String.fromCharCode(97 + index));
  cluster.leaders.fill(1);
  await producer.disconnect();
  await producer.send({ topic: TOPIC, messages: messagesOf(keys, 1) });
  hangs = true;
  const sending = producer.send({ topic: TOPIC, messages: messagesOf(keys, 1) });
  await expect.poll(() => asked).toBe(1);
  cluster.leaders.fill(0);
  await sending;
  expect(asked).toBe(1);
});

test('a partition without a leader blocks no other', async () => {
  const { cluster, producer } = await setup({ brokers: 2, leaders: [0, -1], answer: () => 0 });
  const held = producer.send({ topic: TOPIC, messages: messagesOf(['yard'], 1) });
  await producer.send({ topic: TOPIC, messages: messagesOf(['door'], 1) });
  cluster.leaders[1] = 1;
  await held.catch(() => producer.send({ topic: TOPIC, messages: messagesOf(['yard'], 1) }));
  expect(cluster.stored.map(({ partition }) => partition)).toEqual([0, 1]);
});

test('a truncated response is not read as the start of the next one', async () => {
  let cuts = 1;
  const { cluster, producer } = await setup({
    brokers: 1,
    leaders: [0, 0],
    answer: ({ partition }) => (partition === 1 && cuts-- > 0 ? 'half' : 0),
  });
  await producer.send({ topic: TOPIC, messages: messagesOf(KEYS, 1) });
  expect(valuesOf(cluster.stored, 1)).toEqual(['<yard-0>']);
});

/** The producer of a batch, and the sequence number of its first record. */
const sequenceOf = ({ batch }: { batch: Buffer }) => [batch.readBigInt64BE(43), batch.readInt32BE(53)];

test('idempotent: while a batch is unconfirmed no other records use its partition or sequence numbers', async () => {
  const sequences: unknown[] = [];
  let isSilent = false;
  const { producer } = await setup(
    {
      brokers: 1,
      leaders: [0, 0],
      answer(received) {
        if (received.partition !== 1) return 0;
        sequences.push([...sequenceOf(received), ...valuesOf([received], 1)]);
        return isSilent ? undefined : 0;
      },
    },
    true,
  );
  const [first, second] = [messagesOf(['yard'], 2), messagesOf(['attic'], 2)];
  isSilent = true;
  await expect(producer.send({ topic: TOPIC, messages: first })).rejects.toThrow();
  isSilent = false;
  expect(producer.partitionOf(TOPIC, 'attic')).toBe(1);
  const waiting = producer.send({ topic: TOPIC, messages: second });
  await producer.send({ topic: TOPIC, messages: messagesOf(['door'], 1) });
  await producer.send({ topic: TOPIC, messages: first });
  await waiting;
  const [asked, later] = [sequences.slice(0, -1), sequences.at(-1)];
  expect(new Set(asked.map(String))).toEqual(new Set(['1,0,<yard-0>,<yard-1>']));
  expect(String(later)).toBe('1,2,<attic-0>,<attic-1>');
});

test.each([
  ['OUT_OF_ORDER_SEQUENCE_NUMBER', 45],
  ['UNKNOWN_PRODUCER_ID', 59],
  ['INVALID_PRODUCER_EPOCH', 47],
])('idempotent: after %s a new producer sends the remaining records', async (_, code) => {
  let isLost = true;
  const { cluster, producer } = await setup(
    { brokers: 1, leaders: [0, 0], answer: ({ partition }) => (isLost && partition === 1 ? code : 0) },
    true,
  );
  const messages = messagesOf(KEYS, 2);
  await expect(producer.send({ topic: TOPIC, messages })).rejects.toThrow();
  isLost = false;
  await producer.send({ topic: TOPIC, messages });
  expect(cluster.stored.map((one) => [one.partition, ...sequenceOf(one)].join())).toEqual(['0,1,0', '1,2,0']);
});

test('with KAFKA_RACK keys go to partitions with preferred leaders in the rack, also after a leader moves', async () => {
  const keys = ['door', 'yard', 'gate', 'hall', 'roof', 'lane', 'dock', 'lift'];
  const { cluster, producer } = await setup(
    {
      brokers: 3,
      leaders: [0, 1, 2, 0, 1, 2],
      racks: ['az1', 'az2', 'az2'],
      answer: ({ broker, partition }) => (cluster.leaders[partition] === broker ? 0 : NOT_LEADER),
    },
    false,
    'az1',
  );
  await producer.send({ topic: TOPIC, messages: messagesOf(keys, 1) });
  expect([...new Set(cluster.stored.map(({ partition }) => partition))].sort()).toEqual([0, 3]);
  const before = keys.map((key) => producer.partitionOf(TOPIC, key));
  cluster.leaders[0] = 1;
  await producer.send({ topic: TOPIC, messages: messagesOf(keys, 1) });
  expect(keys.map((key) => producer.partitionOf(TOPIC, key))).toEqual(before);
  for (const partition of [0, 3])
    expect(valuesOf(cluster.stored, partition)).toHaveLength(
      2 * before.filter((one) => one === partition).length,
    );
});

test('a KAFKA_RACK without brokers does not change the partitions of keys', async () => {
  const leaders = [0, 1];
  const answer = () => 0;
  const { producer } = await setup({ brokers: 2, leaders, racks: ['az1', 'az2'], answer }, false, 'az9');
  await producer.send({ topic: TOPIC, messages: messagesOf(KEYS, 1) });
  expect(KEYS.map((key) => producer.partitionOf(TOPIC, key))).toEqual([0, 1]);
});

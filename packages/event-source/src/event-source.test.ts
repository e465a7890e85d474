import { setImmediate } from 'node:timers/promises';
import { HOUR_MS } from '@video-pipeline/frame';
import { type Kafka, MAX_MESSAGE_BYTES } from '@video-pipeline/kafka';
import { expect, test } from 'vitest';
import { type Handler, startEventSource } from './index.ts';

/** A broker with two partitions, whose records come when they are told to. */
function brokerOf(topic: string) {
  type Listener = (event: { payload: unknown }) => void;
  const listeners = new Map<string, Listener>();
  const options: { maxBytesPerPartition?: number } = {};
  let eachBatch: (payload: unknown) => Promise<void> = async () => {};
  const consumer = {
    events: { GROUP_JOIN: 'join', COMMIT_OFFSETS: 'commit', CRASH: 'crash', END_BATCH_PROCESS: 'end' },
    on: (event: string, listener: Listener) => listeners.set(event, listener),
    async connect() {},
    async subscribe() {},
    async commitOffsets(_offsets: { partition: number; offset: string }[]) {},
    async disconnect() {},
    async run(each: { eachBatch: typeof eachBatch }) {
      eachBatch = each.eachBatch;
      listeners.get('join')?.({ payload: { memberId: 'me', memberAssignment: { [topic]: [0, 1] } } });
    },
  };
  const send = (offset: number, partition = 0) => {
    const messages = [
      { offset: String(offset), timestamp: '0', key: null, value: Buffer.from('frame'), headers: {} },
    ];
    return eachBatch({
      batch: { topic, partition, highWatermark: '99', messages },
      pause: () => () => {},
    });
  };
  /** As kafkajs does when it begins a partition again whose log ends before its position. */
  const reset = () =>
    listeners.get('commit')?.({
      payload: { topics: [{ topic, partitions: [{ partition: 0, offset: '-2' }] }] },
    });
  const kafka = { consumer: (given: object) => Object.assign(options, given) && consumer };
  return { kafka: kafka as unknown as Kafka, consumer, send, reset, options };
}

/** What is the same in all tests. */
const READER = {
  ...{ topic: 'frames', groupId: 'detect', functionName: 'detect', timeoutMs: 1_000, concurrency: 1 },
  source: {
    eventSourceArn: 'arn:aws:kafka:us-east-1:000000000000:cluster/local',
    bootstrapServers: 'here:9092',
  },
  async putFailed() {},
  async onTooLarge() {},
  logger: { info() {}, warn() {} },
  onCrash: (error: Error) => expect.fail(error.message),
};

function collect() {
  const delivered: number[][] = [];
  const handler: Handler = async ({ records }) => {
    delivered.push(Object.values(records).flatMap((those) => those.map(({ offset }) => offset)));
  };
  return { delivered, handler };
}

test('the first batch after a start is delivered at once, and the next one waits to be filled', async () => {
  const { kafka, send } = brokerOf('frames');
  const { delivered, handler } = collect();
  const source = await startEventSource({ ...READER, kafka, handler, batchSize: 25, windowMs: HOUR_MS });
  await send(0);
  await expect.poll(() => delivered).toEqual([[0]]);
  for (let offset = 1; offset < 25; offset++) await send(offset);
  await setImmediate();
  expect(delivered).toHaveLength(1);
  await send(25);
  await expect.poll(() => delivered[1]).toHaveLength(25);
  await source.stop();
});

test('after an unclean election truncates the log, new records at offsets that were read are delivered', async () => {
  const { kafka, send, reset } = brokerOf('frames');
  const { delivered, handler } = collect();
  const source = await startEventSource({ ...READER, kafka, handler, batchSize: 1, windowMs: 0 });
  for (const offset of [7, 8]) await send(offset);
  await expect.poll(() => delivered).toEqual([[7], [8]]);
  // After a join, kafkajs reads again what was not committed.
  await send(8);
  reset();
  // By now the log is longer than before.
  for (const offset of [7, 8, 9]) await send(offset);
  await expect.poll(() => delivered).toEqual([[7], [8], [7], [8], [9]]);
  await source.stop();
});

test('a fetch requests enough bytes for the largest batch of a partition, which brokers would omit otherwise', async () => {
  const { kafka, options } = brokerOf('frames');
  const source = await startEventSource({ ...READER, ...collect(), kafka, batchSize: 1, windowMs: 0 });
  expect(options.maxBytesPerPartition).toBeGreaterThan(MAX_MESSAGE_BYTES);
  await source.stop();
});

test('the next commit begins when the one before has ended, as kafkajs would repeat the older offsets later', async () => {
  const { kafka, consumer, send } = brokerOf('frames');
  const { delivered, handler } = collect();
  const commits: string[][] = [];
  const { promise: moved, resolve: move } = Promise.withResolvers<void>();
  consumer.commitOffsets = (offsets) => {
    commits.push(offsets.map(({ partition, offset }) => `${partition}:${offset}`));
    return moved;
  };
  const limits = { batchSize: 1, windowMs: 0, concurrency: 2 };
  const source = await startEventSource({ ...READER, ...limits, kafka, handler });
  await send(0);
  await expect.poll(() => commits).toEqual([['0:1']]);
  await send(7, 1);
  await expect.poll(() => delivered).toEqual([[0], [7]]);
  await setImmediate();
  expect(commits).toHaveLength(1);
  move();
  await expect.poll(() => commits).toEqual([['0:1'], ['0:1', '1:8']]);
  await source.stop();
});

import { recordsOf } from '@video-pipeline/frame';
import { connectKafka, consumerLag, ensureTopics, orderedProducer } from '@video-pipeline/kafka';
import { expect, inject, test } from 'vitest';
import { type Handler, KAFKA_RETRY, startEventSource } from '../../packages/event-source/src/index.ts';
import { unique } from '../support/unique.ts';

/** Longer than the broker waits for a heartbeat. */
const TOO_LONG_MS = 8_000;

/** kafkajs' own producers, which our type of the client leaves out: they lose records. */
interface WithTransactions {
  producer(options: object): {
    connect(): Promise<void>;
    disconnect(): Promise<void>;
    transaction(): Promise<{ send(records: object): Promise<unknown>; abort(): Promise<void> }>;
  };
}

/** A topic of its own, and what writes and asks there. @param error receives what the client of Kafka logs as errors */
async function newTopic(partitions: number, error: (message: string, extra: object) => void = () => {}) {
  const [topic, groupId, bootstrap] = [unique('records'), unique('readers'), inject('kafka')];
  const settings = { KAFKA_BOOTSTRAP_SERVERS: bootstrap, KAFKA_AUTH: 'none', AWS_REGION: 'x' } as const;
  const kafka = connectKafka('test', { warn() {}, error }, settings, { retry: KAFKA_RETRY });
  const admin = kafka.admin();
  const producer = orderedProducer(kafka);
  await Promise.all([admin.connect(), producer.connect()]);
  const close = async () => void (await Promise.all([admin.disconnect(), producer.disconnect()]));
  await ensureTopics(admin, [{ topic, partitions }]);
  return { topic, groupId, bootstrap, kafka, admin, producer, close };
}

test('records that Kafka deletes before they are read are counted in an error, and later records are read', async ({
  onTestFinished,
}) => {
  const told: object[] = [];
  const error = (message: string, extra: object) => void told.push({ message, ...extra });
  const { topic, groupId, bootstrap, kafka, admin, producer, close } = await newTopic(1, error);
  onTestFinished(close);
  const send = (values: number[]) =>
    producer.send({ topic, messages: values.map((value) => ({ key: 'a', value: `${value}` })) });
  const seen: string[] = [];
  const read = () =>
    startEventSource({
      ...{ kafka, topic, groupId, functionName: 'handler', timeoutMs: 60_000 },
      handler: (event) =>
        void seen.push(...recordsOf(event).map(({ value }) => Buffer.from(value, 'base64').toString())),
      source: { eventSourceArn: 'arn:aws:kafka:x', bootstrapServers: bootstrap },
      ...{ batchSize: 25, windowMs: 100, concurrency: 1 },
      onTooLarge: () => expect.unreachable(),
      logger: { warn() {}, info() {} },
      onCrash: (error) => expect.unreachable(error.message),
    });

  const first = await read();
  await send([0, 1, 2]);
  const committed = async () => (await consumerLag(admin, groupId, topic))[0]?.committed;
  await expect.poll(committed, { timeout: 20_000 }).toBe(3);
  await first.stop();
  await send([3, 4, 5, 6]);
  await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '6' }] });
  const second = await read();
  onTestFinished(() => second.stop());
  await expect.poll(() => seen, { timeout: 20_000 }).toEqual(['0', '1', '2', '6']);
  expect(told).toContainEqual({
    message: 'kafka: records were deleted before they were read',
    kafka: expect.objectContaining({ topic, partition: 0, records: 3 }),
  });
});

test('records behind an open transaction count as lag', async ({ onTestFinished }) => {
  const { topic, groupId, kafka, admin, producer, close } = await newTopic(1);
  onTestFinished(close);
  const lag = async () => (await consumerLag(admin, groupId, topic)).map((one) => one.lag);
  const options = { transactionalId: unique('foreign'), idempotent: true, maxInFlightRequests: 1 };
  const foreign = (kafka as unknown as WithTransactions).producer(options);
  await foreign.connect();
  onTestFinished(() => foreign.disconnect());
  const transaction = await foreign.transaction();
  await transaction.send({ topic, messages: [{ key: 'a', value: 'open' }] });
  await producer.send({ topic, messages: [{ key: 'a', value: 'behind' }] });
  expect(await lag()).toEqual([2]);
  await transaction.abort();
  // The end of a transaction is a record, too.
  await expect.poll(lag).toEqual([3]);
});

test('finished records are committed after a rejoin, even if no further record comes', async ({
  onTestFinished,
}) => {
  const { topic, groupId, bootstrap, kafka, admin, producer, close } = await newTopic(2);
  onTestFinished(close);
  const messages = Array.from({ length: 10 }, (_, n) => ({ key: `stream-${n % 5}`, value: `${n}` }));
  await producer.send({ topic, messages });

  const seen: string[] = [];
  // Holds the whole thread, heartbeats too: the broker takes the member for dead.
  const handler: Handler = (event) => {
    seen.push(...recordsOf(event).map(({ value }) => Buffer.from(value, 'base64').toString()));
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, TOO_LONG_MS);
  };
  const warnings: string[] = [];
  const source = await startEventSource({
    ...{ kafka, topic, groupId, handler, functionName: 'handler', timeoutMs: 60_000 },
    source: { eventSourceArn: 'arn:aws:kafka:x', bootstrapServers: bootstrap },
    ...{ batchSize: 25, windowMs: 500, concurrency: 1 },
    onTooLarge: () => expect.unreachable(),
    logger: { warn: (message) => void warnings.push(String(message)), info() {} },
    onCrash: (error) => expect.unreachable(error.message),
  });
  onTestFinished(() => source.stop());

  await expect.poll(() => warnings, { timeout: 30_000 }).toContain('offsets not committed');
  const lag = async () => (await consumerLag(admin, groupId, topic)).map((one) => one.lag);
  await expect.poll(lag, { timeout: 20_000 }).toEqual([0, 0]);
  expect(seen.map(Number).sort((a, b) => a - b)).toEqual(messages.map((_, n) => n));
});

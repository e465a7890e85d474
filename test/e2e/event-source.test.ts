import { recordsOf } from '@video-pipeline/frame';
import { connectKafka, consumerLag, ensureTopics, orderedProducer } from '@video-pipeline/kafka';
import { expect, inject, test } from 'vitest';
import { type Handler, KAFKA_RETRY, startEventSource } from '../../packages/event-source/src/index.ts';
import { unique } from '../support/unique.ts';

/** Longer than the broker waits for a heartbeat. */
const TOO_LONG_MS = 8_000;

test('what is done with is committed after a rejoin too, though no further record comes', async ({
  onTestFinished,
}) => {
  const [topic, groupId, bootstrap] = [unique('records'), unique('readers'), inject('kafka')];
  const quiet = { warn() {}, error() {} };
  const settings = {
    KAFKA_BOOTSTRAP_SERVERS: bootstrap,
    KAFKA_AUTH: 'none',
    AWS_REGION: 'x',
  } as const;
  const kafka = connectKafka('test', quiet, settings, { retry: KAFKA_RETRY });
  const admin = kafka.admin();
  const producer = orderedProducer(kafka);
  await Promise.all([admin.connect(), producer.connect()]);
  onTestFinished(async () => void (await Promise.all([admin.disconnect(), producer.disconnect()])));
  await ensureTopics(admin, [{ topic, partitions: 2 }]);
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

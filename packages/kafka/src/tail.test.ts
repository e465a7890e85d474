import { expect, test } from 'vitest';
import { connectKafka } from './connect.ts';
import { createTail, TailError } from './tail.ts';

test('kafkajs hands out its view of the brokers, and an absent broker is a named error', async () => {
  const settings = { KAFKA_BOOTSTRAP_SERVERS: '127.0.0.1:1', KAFKA_AUTH: 'none', AWS_REGION: '' } as const;
  const silent = { warn() {}, error() {} };
  const tail = createTail(connectKafka('test', silent, settings, { retry: { retries: 0 } }));
  const error = await tail
    .newest('detections', 'yard', 10)
    .next()
    .catch((thrown) => thrown);
  expect(error).toBeInstanceOf(TailError);
  expect(error.message).toMatch(/^can't read the end of detections for 'yard': .*127\.0\.0\.1:1/);
});

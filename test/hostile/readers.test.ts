import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { connectKafka, createTail, noteFormerMember } from '@video-pipeline/kafka';
import { readTopic } from '@video-pipeline/recovery';
import { expect, inject, test } from 'vitest';
import { recordBatch } from '../support/record-batch.ts';
import { unique } from '../support/unique.ts';
import { produceRaw } from './raw-producer.ts';
import { createRawTopic } from './target.ts';

const broker = inject('kafka');

function connect() {
  const quiet = { warn() {}, error() {} };
  const settings = { KAFKA_AUTH: 'none', AWS_REGION: 'x' } as const;
  return connectKafka('readers', quiet, { KAFKA_BOOTSTRAP_SERVERS: broker, ...settings });
}

test('a reader without a consumer group skips records that can not be read, and reads on', async () => {
  const topic = unique('records');
  await createRawTopic(broker, topic);
  const codec = [1, gzipSync] as const;
  const batches = [
    recordBatch([{ key: 'gate', value: 'first' }]),
    recordBatch([{ value: Buffer.alloc(100_000_000) }], { codec }),
    recordBatch([{ key: 'gate', value: 'named', headers: [['constructor', 'x']] }]),
    recordBatch([{ value: 'many', headers: Array(100_000).fill(['a', 'b']) }]),
    recordBatch([{ key: 'gate', value: 'last' }], { codec }),
  ];
  for (const batch of batches) {
    expect((await produceRaw(broker, topic, 0, batch)).errorCode).toBe(0);
  }
  const kafka = connect();

  const seen: string[] = [];
  await readTopic(kafka, topic, ({ value, refusal }) => void seen.push(refusal?.reason ?? String(value)));
  const refusals = [expect.stringMatching(/inflates to over/), expect.stringMatching(/100000 headers/)];
  expect(seen).toEqual(['first', refusals[0], 'named', refusals[1], 'last']);

  const tail = createTail(kafka);
  const newest = await Array.fromAsync(tail.newest(topic, 'gate', 100), ({ value }) => String(value));
  await tail.close();
  expect(newest).toEqual(['last', 'named', 'first']);
});

test('a group does not wait for the session timeout of a killed member', async ({ onTestFinished }) => {
  const [topic, groupId] = [unique('killed'), unique('group')];
  await createRawTopic(broker, topic);
  const program = join(import.meta.dirname, 'former-member.ts');
  const child = fork(program, [broker, topic, groupId], { stdio: 'inherit' });
  const [member] = await once(child, 'message');
  child.kill('SIGKILL');
  await once(child, 'exit');

  noteFormerMember(groupId, member);
  const consumer = connect().consumer({ groupId, sessionTimeout: 60_000 });
  onTestFinished(() => consumer.disconnect());
  const joined = new Promise((resolve) => consumer.on(consumer.events.GROUP_JOIN, resolve));
  await consumer.subscribe({ topic });
  const began = performance.now();
  await consumer.run({ eachMessage: async () => {} });
  await joined;
  // The session has 60 s.
  expect(performance.now() - began).toBeLessThan(20_000);
}, 100_000);

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { connectKafka, createTail } from '@video-pipeline/kafka';
import { startKafka } from '@video-pipeline/local';
import { readTopic } from '@video-pipeline/recovery';
import { expect, test } from 'vitest';
import { recordBatch } from '../support/record-batch.ts';
import { produceRaw } from './raw-producer.ts';
import { createRawTopic } from './target.ts';

test('who reads a topic by himself gets past what can`t be read', async ({ onTestFinished }) => {
  const folder = await mkdtemp(join(tmpdir(), 'readers-'));
  const server = await startKafka({ dataDir: folder });
  onTestFinished(async () => {
    await server.stop();
    await rm(folder, { recursive: true, force: true });
  });
  await createRawTopic(server.bootstrap, 'records');
  const codec = [1, gzipSync] as const;
  const batches = [
    recordBatch([{ key: 'gate', value: 'first' }]),
    recordBatch([{ value: Buffer.alloc(100_000_000) }], { codec }),
    recordBatch([{ key: 'gate', value: 'named', headers: [['constructor', 'x']] }]),
    recordBatch([{ value: 'many', headers: Array(100_000).fill(['a', 'b']) }]),
    recordBatch([{ key: 'gate', value: 'last' }], { codec }),
  ];
  for (const batch of batches) {
    expect((await produceRaw(server.bootstrap, 'records', 0, batch)).errorCode).toBe(0);
  }
  const quiet = { warn() {}, error() {} };
  const settings = {
    KAFKA_BOOTSTRAP_SERVERS: server.bootstrap,
    KAFKA_AUTH: 'none',
    AWS_REGION: 'x',
  } as const;
  const kafka = connectKafka('readers', quiet, settings);

  const seen: string[] = [];
  await readTopic(kafka, 'records', ({ value, refusal }) => void seen.push(refusal?.reason ?? String(value)));
  const refusals = [expect.stringMatching(/inflates to over/), expect.stringMatching(/100000 headers/)];
  expect(seen).toEqual(['first', refusals[0], 'named', refusals[1], 'last']);

  const tail = createTail(kafka);
  const newest = await Array.fromAsync(tail.newest('records', 'gate', 100), ({ value }) => String(value));
  await tail.close();
  expect(newest).toEqual(['last', 'named', 'first']);
});

import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { annotatedKey, decodeFrame, failedKey } from '@video-pipeline/frame';
import { connectKafka } from '@video-pipeline/kafka';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type KafkaServer, startKafka } from '../../packages/local/src/servers/kafka.ts';
import type { State } from '../../packages/local/src/session.ts';
import { signalProcess } from '../../packages/local/src/supervisor/processes.ts';
import { unique } from '../support/unique.ts';
import { pidsOf, type StackProcess, startStackProcess } from './stack-process.ts';

/** Those of a line end together: each starts again by itself. */
const SERVICES = [
  ['cameras', 'ingest', 'compact', 'console', 's3proxy'],
  ['model', 'detect', 'annotate'],
  ['kafka'],
] as const;

/** Small batches: what is lost or doubled shows at their edges. */
const QUICK = { BATCH_SIZE: '10', BATCH_TIMEOUT_SECONDS: '1' };

describe('a pipeline whose processes end in the middle', () => {
  let dataDir: string;
  let stack: StackProcess;

  beforeAll(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'restart-'));
    stack = startStackProcess(dataDir, ['--frame-rate', '1'], QUICK);
    await stack.until((state) => annotated(state) > 0, 'the first annotated frame', 180_000);
  });
  afterAll(async () => {
    if (stack.child.exitCode === null) stack.child.kill('SIGTERM');
    await stack.exited;
    await rm(dataDir, { recursive: true, force: true });
  });

  it.each([
    ['SIGKILL', SERVICES],
    ['SIGTERM', [['ingest', 'annotate']]],
  ] as const)('starts each service again after %s', async (signal, groups) => {
    const endOne = async (name: string) => {
      const before = await stack.until((state) => state.services[name]?.pid !== undefined, `${name} up`);
      const { pid, restarts } = before.services[name] ?? { pid: 0, restarts: 0 };
      signalProcess(pid ?? 0, signal);
      await stack.until(
        ({ services }) => services[name]?.state === 'running' && (services[name]?.restarts ?? 0) > restarts,
        `${name} again after ${signal}`,
      );
    };
    for (const names of groups) await Promise.all(names.map(endOne));
    const { length } = SERVICES.flat();
    const after = await stack.until((state) => Object.keys(state.services).length === length, 'all');
    await stack.until((state) => annotated(state) > annotated(after), 'frames flow again');
  });

  it('ends all of them when the supervisor itself is killed', async () => {
    const state = await stack.until(() => true, 'a state');
    stack.child.kill('SIGKILL');
    const pids = pidsOf(state);
    for (let tenths = 150; tenths > 0 && pids.some((pid) => signalProcess(pid, 0)); tenths--)
      await sleep(100);
    expect(pids.filter((pid) => signalProcess(pid, 0))).toEqual([]);
  });

  it('finishes after a new start what was left, and then its own frames', async () => {
    stack = startStackProcess(dataDir, ['--frames', '30', '--json'], QUICK);
    const { code } = await stack.exited;
    expect(code, stack.output.stderr).toBe(0);
    expect(JSON.parse(stack.output.stdout).frames.total).toMatchObject({ published: 30, annotated: 30 });
  });

  it('has stored, or put into failed/, every frame ever published', async () => {
    const kafka = await startKafka({ dataDir });
    try {
      const keys = await publishedFrames(kafka);
      expect(keys.length).toBeGreaterThan(60);
      const bucket = join(dataDir, 's3/video-pipeline-output');
      const missing = keys.filter((either) => !either.some((key) => existsSync(join(bucket, key))));
      expect(missing).toEqual([]);
    } finally {
      await kafka.stop();
    }
  });
});

function annotated(state: State): number {
  return Object.values(state.streams).reduce((sum, stream) => sum + stream.annotated, 0);
}

/** For each record on `video-frames`, the keys of which one must be in S3. */
async function publishedFrames({ bootstrap }: KafkaServer): Promise<string[][]> {
  const settings = { KAFKA_BOOTSTRAP_SERVERS: bootstrap, KAFKA_AUTH: 'none', AWS_REGION: '' } as const;
  const kafka = connectKafka('test', { warn() {}, error() {} }, settings);
  const admin = kafka.admin();
  await admin.connect();
  const offsets = await admin.fetchTopicOffsets('video-frames');
  await admin.disconnect();
  const end = offsets.reduce((sum, { high }) => sum + Number(high), 0);

  const consumer = kafka.consumer({ groupId: unique('test'), maxBytesPerPartition: 10_000_000 });
  await consumer.connect();
  await consumer.subscribe({ topic: 'video-frames', fromBeginning: true });
  const keys: string[][] = [];
  const all = Promise.withResolvers<void>();
  await consumer.run({
    eachMessage: async ({ topic, partition, message }) => {
      const frame = decodeFrame(message);
      const position = { topic, partition, offset: Number(message.offset) };
      keys.push([annotatedKey('annotated', frame), failedKey('detect', position)]);
      if (keys.length >= end) all.resolve();
    },
  });
  await all.promise;
  await consumer.disconnect();
  return keys;
}

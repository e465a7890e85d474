import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { promisify } from 'node:util';
import { encodeFrame } from '@video-pipeline/frame';
import type { Kafka } from '@video-pipeline/kafka';
import type { Bucket } from '@video-pipeline/storage';
import { expect, test } from 'vitest';
import { audit } from './audit.ts';

const SCRIPT = join(import.meta.dirname, '../../../test/support/many-frames.ts');

test('the audit reads four partitions at a time in little memory, and lists only the hours of its frames', async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [
    '--max-old-space-size=64',
    SCRIPT,
    '12000',
  ]);
  const { report, expected, listed, fetches } = JSON.parse(stdout);
  expect(report).toMatchObject(expected);
  expect(fetches).toBe(4);
  // The 600 frames of a stream take a minute. An archive of the minute before may reach into it.
  expect(listed).toBeLessThan(20 * 2_000);
}, 120_000);

const MIB = 1024 ** 2;

/** Four partitions of pictures of one MiB, ten a fetch. */
function kafkaOfPictures() {
  const read = { records: 0 };
  const nothing = async () => {};
  const jpeg = Buffer.alloc(MIB);
  const messageOf = (partition: number, offset: number) => {
    const frame = { streamId: 'gate', session: 's', frameNumber: 4 * offset + partition, capturedAt: offset };
    const record = encodeFrame({ ...frame, width: 9, height: 9, jpeg });
    return { ...record, offset: String(offset), timestamp: '1', isControlRecord: false };
  };
  const cluster = {
    ...{ connect: nothing, disconnect: nothing, addTargetTopic: nothing },
    ...{ refreshMetadataIfNecessary: nothing, findLeaderForPartitions: () => ({ 0: [0] }) },
    fetchTopicsOffset: async () => [{ partitions: [{ offset: '0' }] }],
    findBroker: async () => ({
      async fetch({ topics: [{ partitions }] }: { topics: [{ partitions: [Record<string, unknown>] }] }) {
        await turn();
        read.records += 10;
        const { partition, fetchOffset } = partitions[0];
        const one = (_: unknown, i: number) => messageOf(Number(partition), Number(fetchOffset) + i);
        return { responses: [{ partitions: [{ messages: Array.from({ length: 10 }, one) }] }] };
      },
    }),
  };
  const admin = {
    ...{ connect: nothing, disconnect: nothing, listTopics: async () => ['video-frames'] },
    fetchTopicOffsets: async () => [0, 1, 2, 3].map((partition) => ({ partition, low: '0', high: '200' })),
  };
  const consumer = ({ partitionAssigners: [assign] }: { partitionAssigners: [(config: object) => void] }) =>
    assign({ cluster });
  return { kafka: { admin: () => admin, consumer } as unknown as Kafka, read };
}

test('while S3 is slow, the readers of the audit hold two chunks of pictures, not one each', async () => {
  const { kafka, read } = kafkaOfPictures();
  const [asked, answer] = [Promise.withResolvers<void>(), Promise.withResolvers<never>()];
  const page = async (prefix: string) => {
    if (!prefix.startsWith('annotated/')) return { objects: [] };
    asked.resolve();
    return answer.promise;
  };
  const bucket = { page, async *list() {}, folders: async () => [] } as unknown as Bucket;
  const config = {
    KAFKA_TOPIC: 'video-frames',
    KAFKA_DETECTIONS_TOPIC: 'detections',
    S3_PREFIX: 'annotated',
  };
  const auditing = audit({ kafka, bucket, config, pixels: true });
  await asked.promise;
  for (let turns = 0; turns < 200; turns++) await turn();
  // Of 800. Two chunks of 64 MiB, and at most two fetches of each reader.
  expect(read.records).toBeLessThan(2 * 64 + 4 * 20);
  answer.reject(new Error('S3 is away'));
  await expect(auditing).rejects.toThrow('S3 is away');
});

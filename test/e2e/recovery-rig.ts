import type { Value } from '@video-pipeline/config';
import { toS3Destination } from '@video-pipeline/event-source';
import {
  annotatedKey,
  type DetectedFrame,
  encodeDetectedFrame,
  encodeFrame,
  encodeReference,
  type MSKRecord,
  type Position,
  toLambdaRecord,
} from '@video-pipeline/frame';
import { connectKafka, ensureTopics, orderedProducer } from '@video-pipeline/kafka';
import { readTopic } from '@video-pipeline/recovery';
import { createPutFailed, createReader, createStore } from '@video-pipeline/storage';
import { startFauxqs } from 'fauxqs';
import sharp from 'sharp';
import { inject } from 'vitest';
import { unique } from '../support/unique.ts';

export const BUCKET = 'bucket';
export type RecoveryRig = Awaited<ReturnType<typeof startRecoveryRig>>;

/**
 * The Kafka that is shared, and an S3 API in memory, for the operator's tools.
 * @param endpoint of another S3 API, which has the bucket
 */
export async function startRecoveryRig(endpoint?: string) {
  const s3 = endpoint ? undefined : await startFauxqs({ port: 0, host: '127.0.0.1', logger: false });
  s3?.createBucket(BUCKET);
  process.env.AWS_ACCESS_KEY_ID = 'test';
  process.env.AWS_SECRET_ACCESS_KEY = 'test';
  const storage = {
    S3_BUCKET: BUCKET,
    AWS_REGION: 'us-east-1',
    AWS_ENDPOINT_URL: endpoint ?? `http://127.0.0.1:${s3?.port}`,
  };
  const kafka = connectKafka('test', console, {
    KAFKA_BOOTSTRAP_SERVERS: inject('kafka'),
    KAFKA_AUTH: 'none',
    AWS_REGION: 'us-east-1',
  });
  const producer = orderedProducer(kafka);
  await producer.connect();
  const store = createStore(storage);
  return {
    storage,
    kafka,
    producer,
    store,
    /** Publishes frames as ingest and detect do, on new topics, and empties the bucket. */
    async publish(frames: DetectedFrame[], pictures: Value<'PICTURES'> = 'twice') {
      const [s3Prefix, bucket, admin] = [unique('run'), createReader(storage), kafka.admin()];
      await bucket.remove(await Array.fromAsync(bucket.list('')));
      await admin.connect();
      const topics = { framesTopic: `frames-${s3Prefix}`, detectionsTopic: `detections-${s3Prefix}` };
      await ensureTopics(
        admin,
        Object.values(topics).map((topic) => ({ topic, partitions: 2 })),
      );
      await admin.disconnect();
      await producer.send({ topic: topics.framesTopic, messages: frames.map(encodeFrame) });
      const positions: Position[] = [];
      await readTopic(kafka, topics.framesTopic, ({ topic, partition, offset }) => {
        positions.push({ topic, partition, offset });
      });
      const detected = frames.map((frame, index) => {
        const picture = { ...(positions[index] as Position), annotated_key: annotatedKey(s3Prefix, frame) };
        return pictures === 'once' ? encodeReference(frame, picture) : encodeDetectedFrame(frame);
      });
      await producer.send({ topic: topics.detectionsTopic, messages: detected });
      const [KAFKA_TOPIC, KAFKA_DETECTIONS_TOPIC] = [topics.framesTopic, topics.detectionsTopic];
      const topicNames = { KAFKA_TOPIC, KAFKA_DETECTIONS_TOPIC, KAFKA_EVENTS_TOPIC: 'events' };
      const config = { ...topicNames, S3_PREFIX: s3Prefix };
      return { ...topics, config, kafka, bucket, s3Prefix, pixels: true };
    },
    async storeFrames(prefix: string, frames: DetectedFrame[], picture = (one: DetectedFrame) => one.jpeg) {
      for (const one of frames) {
        await store.put({ key: annotatedKey(prefix, one), body: picture(one), contentType: 'image/jpeg' });
      }
    },
    /** Puts every record of a topic into `failed/`, as the stage does, with the reason that its frame has. */
    async fail(topic: string, reasonOf: (frameNumber: string) => string, stage = 'detect'): Promise<void> {
      await readTopic(kafka, topic, async (record) => {
        const { partition, offset, timestamp } = record;
        const failed = toLambdaRecord({ topic, partition, offset: String(offset), timestamp }, record);
        await createPutFailed(store, stage)(failed, reasonOf(String(record.headers?.frame_number)));
      });
    },
    /** Stores all records of a topic as one batch that Lambda gave up on, as a mapping's on-failure destination does. */
    async giveUp(topic: string, functionName = 'functions/src/detect.ts'): Promise<void> {
      const records: MSKRecord[] = [];
      await readTopic(kafka, topic, (record) => {
        const { partition, offset, timestamp } = record;
        records.push(toLambdaRecord({ topic, partition, offset: String(offset), timestamp }, record));
      });
      const source = { eventSource: 'aws:kafka' as const, eventSourceArn: 'arn', bootstrapServers: 'b:9098' };
      await toS3Destination(
        store,
        'aws/lambda',
      )({
        event: { ...source, records: { [`${topic}-0`]: records } },
        batch: { records } as never,
        condition: 'RetryAttemptsExhausted',
        invocations: 11,
        functionName,
      });
    },
    async stop() {
      await producer.disconnect();
      await s3?.stop();
    },
  };
}

/** A different picture for each number: a bright spot that moves. */
export async function spotFrame(frameNumber: number): Promise<DetectedFrame> {
  const spot = { create: { width: 80, height: 60, channels: 3 as const, background: 'white' } };
  const jpeg = await sharp({ create: { width: 320, height: 240, channels: 3, background: '#345' } })
    .composite([{ input: await sharp(spot).png().toBuffer(), left: frameNumber * 20, top: frameNumber * 15 }])
    .jpeg()
    .toBuffer();
  return {
    streamId: 'yard',
    frameNumber,
    session: 's1',
    capturedAt: 1_795_000_000_000 + frameNumber,
    width: 320,
    height: 240,
    jpeg,
    detections: [],
    model: 'm',
  };
}

import { setImmediate as turn } from 'node:timers/promises';
import { NoSuchKey } from '@aws-sdk/client-s3';
import { annotatedKey, encodeFrame, failedKey, HOUR_MS } from '@video-pipeline/frame';
import type { Kafka } from '@video-pipeline/kafka';
import { type Bucket, objectsOf, type PageOptions } from '@video-pipeline/storage';
import { audit } from '../../packages/recovery/src/audit.ts';

const STREAMS = 20;
/** A frame's stream and partition depend on its index alone: each stream is on one partition. */
const PARTITIONS = 5;
const EVERY_MS = 100;
const START = Date.UTC(2026, 10, 25, 7, 58);
const FETCHED = 500;
const TOPICS = { KAFKA_TOPIC: 'video-frames', KAFKA_DETECTIONS_TOPIC: 'detections' };
const PREFIX = 'annotated';

const isMissing = (index: number) => index % 1_000 === 999;
const isFailed = (index: number) => index % 1_000 === 500;

const placeOf = (index: number) => ({
  streamId: `cam-${index % STREAMS}`,
  frameNumber: Math.floor(index / STREAMS),
  capturedAt: START + Math.floor(index / STREAMS) * EVERY_MS,
});
const nameOf = (index: number) => `${placeOf(index).streamId}/s/${placeOf(index).frameNumber}`;

const SEEN = JSON.stringify(
  Array.from({ length: 40 }, (_, class_id) => ({
    ...{ class_id, class_name: `class ${class_id}`, confidence: 0.5, bbox: [1, 2, 3, 4] },
  })),
);

/** A record of either topic. */
function messageOf(topic: string, partition: number, offset: number) {
  const index = offset * PARTITIONS + partition;
  const frame = {
    ...placeOf(index),
    session: 's',
    width: 9,
    height: 9,
    jpeg: Buffer.from(`picture ${index}`),
  };
  const { key, value, headers } = encodeFrame(frame);
  if (topic === TOPICS.KAFKA_DETECTIONS_TOPIC) Object.assign(headers, { detections: SEEN, model: 'm' });
  const facts = { offset: String(offset), timestamp: String(frame.capturedAt), isControlRecord: false };
  return { ...facts, key: Buffer.from(key), value, headers };
}

type Fetch = { topics: [{ topic: string; partitions: [{ partition: number; fetchOffset: string }] }] };

/** The part of kafkajs that a tail uses: two topics, whose records are made during the read. */
function kafkaOf(count: number) {
  const fetches = { now: 0, most: 0 };
  const high = count / PARTITIONS;
  const nothing = async () => {};
  const cluster = {
    ...{
      connect: nothing,
      disconnect: nothing,
      addTargetTopic: nothing,
      refreshMetadataIfNecessary: nothing,
    },
    fetchTopicsOffset: async ([{ fromBeginning }]: [{ fromBeginning: boolean }]) => [
      { partitions: [{ offset: fromBeginning ? '0' : String(high) }] },
    ],
    findLeaderForPartitions: () => ({ 0: [0] }),
    findBroker: async () => ({
      async fetch({ topics: [{ topic, partitions }] }: Fetch) {
        const [{ partition, fetchOffset }] = partitions;
        fetches.most = Math.max(fetches.most, ++fetches.now);
        await turn();
        fetches.now--;
        const first = Number(fetchOffset);
        const length = Math.min(FETCHED, high - first);
        const messages = Array.from({ length }, (_, i) => messageOf(topic, partition, first + i));
        return { responses: [{ partitions: [{ messages }] }] };
      },
    }),
  };
  const admin = {
    ...{ connect: nothing, disconnect: nothing, listTopics: async () => Object.values(TOPICS) },
    fetchTopicOffsets: async () =>
      Array.from({ length: PARTITIONS }, (_, partition) => ({ partition, low: '0', high: String(high) })),
  };
  const kafka = {
    admin: () => admin,
    consumer: ({ partitionAssigners: [assign] }: { partitionAssigners: [(config: object) => void] }) =>
      assign({ cluster }),
  } as unknown as Kafka;
  return { kafka, fetches };
}

/** A bucket with a year of pictures of each stream, whose keys are made during the listing. */
function bucketOf(count: number) {
  const listed = { keys: 0 };
  const last = START + Math.ceil(count / STREAMS) * EVERY_MS;
  const failed = Array.from({ length: count }, (_, index) => index)
    .filter(isFailed)
    .map((index) => ({ partition: index % PARTITIONS, offset: Math.floor(index / PARTITIONS) }))
    .map((position) => failedKey('detect', { topic: TOPICS.KAFKA_TOPIC, ...position }))
    .sort();
  function* picturesFrom(streamId: string, after: string) {
    const [, date, hour, time] = /date=([\d-]+)\/hour=(\d\d)\/(\d*)/.exec(after) ?? [];
    const begin = date ? Number(time) || Date.parse(`${date}T${hour}:00:00Z`) : START - 365 * 24 * HOUR_MS;
    for (let at = Math.ceil(begin / EVERY_MS) * EVERY_MS; at < last; at += EVERY_MS) {
      const frameNumber = (at - START) / EVERY_MS;
      const index = frameNumber * STREAMS + Number(streamId.slice('cam-'.length));
      if (index >= 0 && (isMissing(index) || isFailed(index))) continue;
      const key = annotatedKey(PREFIX, { streamId, capturedAt: at, frameNumber: Math.abs(frameNumber) });
      if (key > after) yield key;
    }
  }
  function* keysFrom(prefix: string, after: string) {
    if (prefix.startsWith('failed/')) yield* failed.filter((key) => key > after);
    const [, streamId] = /^annotated\/(cam-\d+)\//.exec(prefix) ?? [];
    if (streamId) yield* picturesFrom(streamId, after);
  }
  const page = async (prefix: string, { after = '', limit = 1_000 }: PageOptions = {}) => {
    const keys: string[] = [];
    for (const key of keysFrom(prefix, after)) if (keys.push(key) > limit) break;
    listed.keys += Math.min(limit, keys.length);
    const objects = keys.slice(0, limit).map((key) => ({ key, stored: Date.now(), etag: '', size: 9 }));
    return keys.length > limit ? { objects, next: keys[limit - 1] as string } : { objects };
  };
  const bucket = {
    page,
    async *list(prefix: string) {
      for await (const { key } of objectsOf({ page }, prefix)) yield key;
    },
    folders: async () => Array.from({ length: STREAMS }, (_, index) => `cam-${index}`),
    // What the listings lack is asked for without its bytes.
    async head(key: string, bytes: number) {
      throw bytes > 1
        ? new Error(`${bytes} bytes of ${key}`)
        : new NoSuchKey({ message: key, $metadata: {} });
    },
  };
  return { bucket: bucket as unknown as Bucket, listed };
}

// Audits this number of frames of twenty streams in a bucket with a year of pictures. The flags of Node limit its memory.
const count = Number(process.argv[2]);
const all = Array.from({ length: count }, (_, index) => index);
const [missing, failed] = [all.filter(isMissing).map(nameOf).sort(), all.filter(isFailed).length];
const expected = { published: count, annotated: count - missing.length - failed, failed, missing, both: [] };
const { bucket, listed } = bucketOf(count);
const config = { ...TOPICS, S3_PREFIX: PREFIX };
const { kafka, fetches } = kafkaOf(count);
const report = await audit({ kafka, bucket, config, pixels: false });
report.missing.sort();
console.log(JSON.stringify({ report, expected, listed: listed.keys, fetches: fetches.most }));

import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type DetectedFrame,
  decodeSeenFrame,
  InvalidRecordError,
  type ReadPlaces,
  type SeenFrame,
  withPictures,
} from '@video-pipeline/frame';
import type { Consumer, EachBatchPayload, Kafka } from '@video-pipeline/kafka';

const RETRY_MS = 1_000;
/** Longest wait for a broker to let a consumer go. */
const LEAVE_MS = 1_500;
/** Further behind than this, a live view jumps to what is newest. */
const MAX_LAG = 2_000;

/**
 * Follows the topic `detections` from its end, in a consumer group of its own that never commits, so that it takes
 * nothing from the pipeline. Whatever happens to the broker, it comes back once the broker does.
 * @param options.group what the names of its groups begin with
 * @param options.onFrame takes each frame, with the time its detections were published
 * @returns stops it
 */
export function followDetections(options: FeedOptions): () => Promise<void> {
  const stopping = new AbortController();
  const stopped = follow(options, stopping.signal);
  return () => {
    stopping.abort();
    return stopped;
  };
}

export interface FeedOptions {
  kafka: Kafka;
  topic: string;
  group: string;
  /** Reads the pictures that the topic does not carry. */
  read: ReadPlaces;
  onFrame: (frame: DetectedFrame, detectedAt: number) => void;
  onError: (error: Error) => void;
}

async function follow(options: FeedOptions, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const consumer = options.kafka.consumer({
      // In the group it had before, it would wait a minute for its former self, which can't say goodbye to a dead broker.
      groupId: `${options.group}-${randomUUID()}`,
      maxWaitTimeInMs: 200,
      retry: { retries: 2, restartOnFailure: async () => false },
    });
    const over = new AbortController();
    const ended = endOf(consumer, signal, over.signal);
    try {
      await Promise.race([consume(consumer, options), ended]);
      await ended;
    } catch (error) {
      options.onError(error as Error);
    }
    over.abort();
    await Promise.race([consumer.disconnect().catch(() => {}), sleep(LEAVE_MS)]);
    await sleep(RETRY_MS, undefined, { signal }).catch(() => {});
  }
}

/** Resolves when `stop` aborts; rejects when the consumer crashes. @param over when nobody waits for it any more */
function endOf(consumer: Consumer, stop: AbortSignal, over: AbortSignal): Promise<void> {
  const ended = new Promise<void>((resolve, reject) => {
    consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error));
    stop.addEventListener('abort', () => resolve(), { signal: over });
  });
  ended.catch(() => {});
  return ended;
}

async function consume(consumer: Consumer, options: FeedOptions): Promise<void> {
  await consumer.connect();
  await consumer.subscribe({ topic: options.topic, fromBeginning: false });
  await consumer.run({
    autoCommit: false,
    eachBatch: async (payload) => readBatch(payload, consumer, options),
  });
}

async function readBatch(
  { batch }: EachBatchPayload,
  consumer: Consumer,
  options: FeedOptions,
): Promise<void> {
  if (Number(batch.offsetLag()) > MAX_LAG) {
    consumer.seek({ topic: batch.topic, partition: batch.partition, offset: batch.highWatermark });
    return;
  }
  const seen: SeenFrame[] = [];
  const times = new Map<string, number>();
  for (const message of batch.messages) {
    try {
      const frame = decodeSeenFrame(message);
      times.set(nameOf(frame), Number(message.timestamp));
      seen.push(frame);
    } catch (error) {
      // The annotate stage reports it and puts it into failed/, where the console shows it.
      if (error instanceof InvalidRecordError) continue;
      throw error;
    }
  }
  // kafkajs hands out slices of a whole response: kept as they are, one frame would hold the memory of many.
  for (const frame of await withPictures(seen, options.read))
    options.onFrame({ ...frame, jpeg: Buffer.from(frame.jpeg) }, times.get(nameOf(frame)) ?? 0);
}

const nameOf = ({ streamId, session, frameNumber }: SeenFrame) => `${streamId}/${session}/${frameNumber}`;

import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type DetectedFrame,
  decodeSeenFrame,
  InvalidRecordError,
  idOf,
  type ReadAt,
  type SeenFrame,
  withPictures,
} from '@video-pipeline/frame';
import type { Consumer, EachBatchPayload, Kafka } from '@video-pipeline/kafka';
import { untilStopped } from './flow.ts';

const RETRY_MS = 1_000;
/** Longest wait for a consumer to leave its group, milliseconds. */
const LEAVE_MS = 1_500;
/** Lag from which on a live view jumps to the newest records. */
const MAX_LAG = 2_000;

/**
 * Follows the topic `detections` from its end, in a consumer group of its own that never commits. So it takes no
 * records from the pipeline. After any fault of a broker, it reconnects.
 * @param options.group prefix of its groups' names
 * @param options.onFrame receives each frame, with the time its detections were published
 * @returns stops it
 */
export const followDetections = (options: FeedOptions) => untilStopped((signal) => follow(options, signal));

interface FeedOptions {
  kafka: Kafka;
  topic: string;
  group: string;
  /** Reads the pictures that the topic does not carry. */
  read: ReadAt;
  onFrame: (frame: DetectedFrame, detectedAt: number) => void;
  onError: (error: Error) => void;
}

async function follow(options: FeedOptions, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const consumer = options.kafka.consumer({
      // A new group each time. In its former group it would wait a minute for its former member, which could not leave
      // when the broker was down.
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

/** Resolves when `stop` aborts; rejects when the consumer crashes. @param over aborts when nobody waits any more */
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
      times.set(idOf(frame), Number(message.timestamp));
      seen.push(frame);
    } catch (error) {
      // Annotate reports it and puts it into failed/. The console shows it there.
      if (error instanceof InvalidRecordError) continue;
      throw error;
    }
  }
  // kafkajs returns slices of a whole response. If a slice were kept, one frame would hold the memory of many.
  for (const frame of await withPictures(seen, options.read))
    options.onFrame({ ...frame, jpeg: Buffer.from(frame.jpeg) }, times.get(idOf(frame)) ?? 0);
}

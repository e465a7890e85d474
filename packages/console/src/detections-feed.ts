import { setTimeout as sleep } from 'node:timers/promises';
import { type DetectedFrame, decodeDetectedFrame, InvalidRecordError } from '@video-pipeline/frame';
import type { Consumer, EachBatchPayload, Kafka } from '@video-pipeline/kafka';

const RETRY_MS = 1_000;
/** Further behind than this, a live view jumps to what is newest. */
const MAX_LAG = 2_000;

/**
 * Follows the topic `detections` from its end, in a consumer group of its own that never commits, so that it takes
 * nothing from the pipeline. Whatever happens to the broker, it comes back once the broker does.
 * @param onFrame takes each frame, with the time its detections were published
 * @returns stops it
 */
export function followDetections(options: {
  kafka: Kafka;
  topic: string;
  groupId: string;
  onFrame: (frame: DetectedFrame, detectedAt: number) => void;
  onError: (error: Error) => void;
}): () => Promise<void> {
  const stopping = new AbortController();
  const stopped = follow(options, stopping.signal);
  return () => {
    stopping.abort();
    return stopped;
  };
}

type FeedOptions = Parameters<typeof followDetections>[0];

async function follow(options: FeedOptions, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const consumer = options.kafka.consumer({
      groupId: options.groupId,
      maxWaitTimeInMs: 200,
      retry: { retries: 2, restartOnFailure: async () => false },
    });
    try {
      await consumeUntilCrash(consumer, options, signal);
    } catch (error) {
      if (!signal.aborted) options.onError(error as Error);
    }
    await consumer.disconnect().catch(() => {});
    await sleep(RETRY_MS, undefined, { signal }).catch(() => {});
  }
}

async function consumeUntilCrash(
  consumer: Consumer,
  options: FeedOptions,
  signal: AbortSignal,
): Promise<void> {
  const ended = new Promise<void>((resolve, reject) => {
    consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error));
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
  ended.catch(() => {});
  await consumer.connect();
  await consumer.subscribe({ topic: options.topic, fromBeginning: false });
  await consumer.run({
    autoCommit: false,
    eachBatch: async (payload) => readBatch(payload, consumer, options),
  });
  await ended;
}

function readBatch({ batch }: EachBatchPayload, consumer: Consumer, options: FeedOptions): void {
  if (Number(batch.offsetLag()) > MAX_LAG) {
    consumer.seek({ topic: batch.topic, partition: batch.partition, offset: batch.highWatermark });
    return;
  }
  for (const message of batch.messages) {
    let frame: DetectedFrame;
    try {
      frame = decodeDetectedFrame(message);
    } catch (error) {
      // The annotate stage reports it and puts it into failed/, where the console shows it.
      if (error instanceof InvalidRecordError) continue;
      throw error;
    }
    // kafkajs hands out slices of a whole response: kept as they are, one frame would hold the memory of many.
    options.onFrame({ ...frame, jpeg: Buffer.from(frame.jpeg) }, Number(message.timestamp));
  }
}

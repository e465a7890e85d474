import type { Config } from '@video-pipeline/config';
import { decodeFrame, type MSKRecord, toLambdaEvent, toLambdaRecord } from '@video-pipeline/frame';
import { createAnnotateFrames } from '@video-pipeline/functions/annotate';
import { createDetect } from '@video-pipeline/functions/detect';
import type { InferenceClient } from '@video-pipeline/inference-client';
import type { Kafka } from '@video-pipeline/kafka';
import { createPutFailed, type MergingStore } from '@video-pipeline/storage';
import type { Logger } from '@video-pipeline/telemetry';
import { type PositionedRecord, readTopic } from './read-topic.ts';

interface ReplayOptions {
  kafka: Kafka;
  config: Config<'KAFKA_TOPIC' | 'S3_PREFIX' | 'STORE' | 'JPEG_QUALITY' | 'BATCH_SIZE'>;
  detector: InferenceClient;
  store: MergingStore;
  /** Every key is written under this folder, so that nothing of the first run is touched. */
  folder: string;
  /** Frames captured from this time on, epoch milliseconds. */
  from: number;
  /** Frames captured before this time, epoch milliseconds. */
  to: number;
  /** Longest time by which a frame's capture may be later than its record in Kafka, ms: clocks differ. */
  maxAheadMs: number;
  stream?: string | undefined;
  logger: Pick<Logger, 'warn'>;
  /** Called after each batch with the frames done so far. */
  progress(done: number): void;
}

const SOURCE = { eventSourceArn: 'arn:aws:kafka:local:000000000000:cluster/replay', bootstrapServers: '' };

/**
 * Processes recorded frames again with the same two handlers, into a folder of its own, for example with another model.
 * It reads Kafka and writes S3. It publishes nothing, and commits no offset of the pipeline's groups.
 * @returns frames processed, and how many of them are in the folder's `failed/`
 */
export async function replay(options: ReplayOptions): Promise<{ frames: number; failed: number }> {
  const done = { frames: 0, failed: 0 };
  const process = createBatchProcessor(options, done);
  let batch: PositionedRecord[] = [];
  const flush = async () => {
    if (batch.length === 0) return;
    await process(batch);
    done.frames += batch.length;
    batch = [];
    options.progress(done.frames);
  };
  const visit = (record: PositionedRecord) => {
    if (isWanted(record, options)) batch.push(record);
    return batch.length >= options.config.BATCH_SIZE ? flush() : undefined;
  };
  // No frame has an end: recordings are published long after their capture.
  const since = options.from - options.maxAheadMs;
  await readTopic(options.kafka, options.config.KAFKA_TOPIC, visit, { since });
  await flush();
  return done;
}

/** Runs detect and annotate as one, without publishing. */
function createBatchProcessor(
  { detector, store, folder, config, logger }: ReplayOptions,
  done: { failed: number },
) {
  const { S3_PREFIX: prefix, STORE: form } = config;
  const moved = <Kind extends { key: string }>(object: Kind): Kind => ({
    ...object,
    key: `${folder}/${object.key}`,
  });
  const inFolder: MergingStore = {
    put: (object) => store.put(moved(object)),
    merge: (object) => {
      if (object.key.startsWith('failed/')) done.failed++;
      return store.merge(moved(object));
    },
  };
  const annotate = createAnnotateFrames({
    store: inFolder,
    prefix,
    // All pictures of a replay are stored.
    form: form === 'events' ? 'frames' : form,
    quality: config.JPEG_QUALITY,
    putFailed: createPutFailed(inFolder, 'annotate'),
    logger,
  });
  const detect = createDetect({
    detector,
    publish: async () => [],
    once: { annotate, prefix },
    putFailed: createPutFailed(inFolder, 'detect'),
    logger,
  });
  return (records: readonly PositionedRecord[]) => detect(toLambdaEvent(records.map(toEventRecord), SOURCE));
}

function isWanted(record: PositionedRecord, { from, to, stream }: ReplayOptions): boolean {
  try {
    const { capturedAt, streamId } = decodeFrame(record);
    return capturedAt >= from && capturedAt < to && (stream ?? streamId) === streamId;
  } catch {
    return false; // It is in failed/ already.
  }
}

function toEventRecord(record: PositionedRecord): MSKRecord {
  const { topic, partition, offset, timestamp } = record;
  return toLambdaRecord({ topic, partition, offset: String(offset), timestamp }, record);
}

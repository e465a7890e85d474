import type { Value } from '@video-pipeline/config';
import { decodeFrame, type MSKRecord, toLambdaEvent, toLambdaRecord } from '@video-pipeline/frame';
import { createAnnotateFrames } from '@video-pipeline/functions/annotate';
import { createDetect } from '@video-pipeline/functions/detect';
import type { InferenceClient } from '@video-pipeline/inference-client';
import type { Kafka } from '@video-pipeline/kafka';
import { createPutFailed, type MergingStore } from '@video-pipeline/storage';
import type { Logger } from '@video-pipeline/telemetry';
import { type PlacedRecord, readTopic } from './read-topic.ts';

interface ReplayOptions {
  kafka: Kafka;
  framesTopic: string;
  detector: InferenceClient;
  store: MergingStore;
  /** Every key is written under this folder, so that nothing of the first run is touched. */
  folder: string;
  s3Prefix: string;
  form: Value<'STORE'>;
  /** JPEG quality of annotated pictures, 1 to 100. */
  quality?: number | undefined;
  /** Frames captured from this time on, epoch milliseconds. */
  from: number;
  /** Frames captured before this time, epoch milliseconds. */
  to: number;
  stream?: string | undefined;
  batchSize: number;
  logger: Pick<Logger, 'warn'>;
  /** Called after each batch with the frames done so far. */
  progress(done: number): void;
}

const SOURCE = { eventSourceArn: 'arn:aws:kafka:local:000000000000:cluster/replay', bootstrapServers: '' };

/**
 * Processes recorded frames again with the same two handlers, into a folder of its own, for example with another model.
 * It reads Kafka and writes S3. It publishes nothing, and commits no offset of the pipeline's groups.
 * @returns frames processed
 */
export async function replay(options: ReplayOptions): Promise<number> {
  const process = createBatchProcessor(options);
  let batch: PlacedRecord[] = [];
  let done = 0;
  const flush = async () => {
    if (batch.length === 0) return;
    await process(batch);
    done += batch.length;
    batch = [];
    options.progress(done);
  };
  await readTopic(options.kafka, options.framesTopic, async (record) => {
    if (isWanted(record, options)) batch.push(record);
    if (batch.length >= options.batchSize) await flush();
  });
  await flush();
  return done;
}

/** Runs detect and annotate as one, without publishing. */
function createBatchProcessor({ detector, store, folder, s3Prefix, form, quality, logger }: ReplayOptions) {
  const moved = <Kind extends { key: string }>(object: Kind): Kind => ({
    ...object,
    key: `${folder}/${object.key}`,
  });
  const inFolder: MergingStore = {
    put: (object) => store.put(moved(object)),
    merge: (object) => store.merge(moved(object)),
  };
  const annotate = createAnnotateFrames({
    store: inFolder,
    prefix: s3Prefix,
    // Who replays frames looks at all of them.
    form: form === 'events' ? 'frames' : form,
    quality,
    putFailed: createPutFailed(inFolder, 'annotate'),
    logger,
  });
  const detect = createDetect({
    detector,
    publish: async () => {},
    once: { annotate, prefix: s3Prefix },
    putFailed: createPutFailed(inFolder, 'detect'),
    logger,
  });
  return (records: readonly PlacedRecord[]) => detect(toLambdaEvent(records.map(toEventRecord), SOURCE));
}

function isWanted(record: PlacedRecord, { from, to, stream }: ReplayOptions): boolean {
  try {
    const { capturedAt, streamId } = decodeFrame(record);
    return capturedAt >= from && capturedAt < to && (stream ?? streamId) === streamId;
  } catch {
    return false; // It lies in failed/ already.
  }
}

function toEventRecord(record: PlacedRecord): MSKRecord {
  const { topic, partition, offset, timestamp } = record;
  return toLambdaRecord({ topic, partition, offset: String(offset), timestamp }, record);
}

import type { Value } from '@video-pipeline/config';
import {
  decodeFrame,
  encodeDetectedFrame,
  type Frame,
  type MSKRecord,
  toLambdaEvent,
  toLambdaRecord,
} from '@video-pipeline/frame';
import { createAnnotate } from '@video-pipeline/functions/annotate';
import { createDetect } from '@video-pipeline/functions/detect';
import type { InferenceClient } from '@video-pipeline/inference-client';
import type { Kafka } from '@video-pipeline/kafka';
import { createPutFailed, type MergingStore } from '@video-pipeline/storage';
import type { Logger } from '@video-pipeline/telemetry';
import { idOf } from './audit.ts';
import { type PlacedRecord, readTopic } from './read-topic.ts';

export interface ReplayOptions {
  kafka: Kafka;
  framesTopic: string;
  detector: InferenceClient;
  store: MergingStore;
  /** Every key is written under this folder, so that nothing of the first run is touched. */
  folder: string;
  s3Prefix: string;
  /** How annotated frames are stored. */
  form: Value<'STORE'>;
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

/** What the handlers are told of where records come from. */
const SOURCE = { eventSourceArn: 'arn:aws:kafka:local:000000000000:cluster/replay', bootstrapServers: '' };

/**
 * Processes recorded frames again with the same two handlers, another model say, into a folder of its own. Reads
 * Kafka, writes S3; publishes nothing and commits no offset of the pipeline's groups.
 * @returns frames processed
 */
export async function replay(options: ReplayOptions): Promise<number> {
  const process = createBatchProcessor(options);
  let batch: Recorded[] = [];
  let done = 0;
  const flush = async () => {
    if (batch.length === 0) return;
    await process(batch);
    done += batch.length;
    batch = [];
    options.progress(done);
  };
  await readTopic(options.kafka, options.framesTopic, async (record) => {
    const one = wanted(record, options);
    if (one) batch.push(one);
    if (batch.length >= options.batchSize) await flush();
  });
  await flush();
  return done;
}

/** Chains the handlers without Kafka in between: what detect would publish is what annotate gets. */
function createBatchProcessor({ detector, store, folder, s3Prefix, form, logger }: ReplayOptions) {
  const moved = <Kind extends { key: string }>(object: Kind): Kind => ({
    ...object,
    key: `${folder}/${object.key}`,
  });
  const inFolder: MergingStore = {
    put: (object) => store.put(moved(object)),
    merge: (object) => store.merge(moved(object)),
  };
  const annotate = createAnnotate({
    store: inFolder,
    prefix: s3Prefix,
    form,
    putFailed: createPutFailed(inFolder, 'annotate'),
    logger,
  });
  return async (recorded: Recorded[]) => {
    const records = new Map(recorded.map(({ frame, record }) => [idOf(frame), record]));
    const detected: MSKRecord[] = [];
    const detect = createDetect({
      detector,
      publish: async (frames) => {
        for (const frame of frames) {
          const record = records.get(idOf(frame));
          if (record) detected.push(toEventRecord({ ...record, ...encodeDetectedFrame(frame) }));
        }
      },
      putFailed: createPutFailed(inFolder, 'detect'),
      logger,
    });
    const event = recorded.map(({ record }) => toEventRecord(record));
    await detect(toLambdaEvent(event, SOURCE));
    if (detected.length > 0) await annotate(toLambdaEvent(detected, SOURCE));
  };
}

/** A frame and the record it was read from. */
interface Recorded {
  frame: Frame;
  record: PlacedRecord;
}

function wanted(record: PlacedRecord, { from, to, stream }: ReplayOptions): Recorded | undefined {
  try {
    const frame = decodeFrame(record);
    const isWanted =
      frame.capturedAt >= from && frame.capturedAt < to && (stream ?? frame.streamId) === frame.streamId;
    return isWanted ? { frame, record } : undefined;
  } catch {
    return undefined; // It lies in failed/ already.
  }
}

function toEventRecord(record: PlacedRecord): MSKRecord {
  const { topic, partition, offset, timestamp } = record;
  return toLambdaRecord({ topic, partition, offset: String(offset), timestamp }, record);
}

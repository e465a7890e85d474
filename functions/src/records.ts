import {
  claimedStream,
  type Frame,
  fromLambdaRecord,
  InvalidRecordError,
  isPossibleTime,
  type MSKEvent,
  type MSKRecord,
  positionOf,
  type ReceivedRecord,
  recordsOf,
} from '@video-pipeline/frame';
import { parseSceneEvent, type SceneEvent } from '@video-pipeline/scene';
import { type FailureCode, inParallel, type PutFailed } from '@video-pipeline/storage';
import { emitFailures, emitMetrics, type Logger } from '@video-pipeline/telemetry';

export { readValue } from './secrets.ts';

/** A frame of a batch, and its record. A frame of `detections` may have a reference instead of a picture. */
export interface Received<F extends Omit<Frame, 'jpeg'> = Frame> {
  record: MSKRecord;
  frame: F;
}

/** A record that can't be processed. A retry would fail too: it becomes a dead letter. */
export interface Failure {
  record: MSKRecord;
  code: FailureCode;
  reason: string;
}

/**
 * Splits an event into its frames, in order, and the records that are no frames.
 * @param decode returns undefined for a record that this stage skips
 */
export function decodeRecords<F extends Omit<Frame, 'jpeg'>>(
  event: MSKEvent,
  decode: (record: ReceivedRecord) => F | undefined,
): { received: Received<F>[]; failures: Failure[] } {
  const received: Received<F>[] = [];
  const failures: Failure[] = [];
  for (const record of recordsOf(event)) {
    try {
      const frame = decode(fromLambdaRecord(record));
      if (!frame) continue;
      checkFrame(frame);
      received.push({ record, frame });
    } catch (error) {
      if (!(error instanceof InvalidRecordError)) throw error;
      failures.push({ record, code: 'RECORD_INVALID', reason: error.message });
    }
  }
  return { received, failures };
}

/** First bytes of pictures that the model server would accept. They are refused here: annotate draws on JPEGs only. */
const OTHER_PICTURES = [
  ['PNG', /^\x89PNG\r\n/],
  ['WebP', /^RIFF.{4}WEBP/s],
] as const;
/** Times that {@link isPossibleTime} accepts. */
const POSSIBLE = 'from 2000-01-01 to a day from now';

/**
 * Refuses a frame whose picture is a PNG or a WebP, or whose time is impossible.
 * @throws InvalidRecordError
 */
function checkFrame({ jpeg, capturedAt }: Pick<Frame, 'capturedAt'> & Partial<Frame>): void {
  const start = jpeg?.toString('latin1', 0, 16) ?? '';
  const other = OTHER_PICTURES.find(([, begins]) => begins.test(start));
  if (other) throw new InvalidRecordError('value', `is a ${other[0]}, not a JPEG`);
  if (!isPossibleTime(capturedAt)) {
    const time = new Date(capturedAt).toISOString();
    throw new InvalidRecordError(
      'captured_at',
      `is ${time}, not ${POSSIBLE}; it counts milliseconds since 1970`,
    );
  }
}

export interface ReceivedEvent {
  record: MSKRecord;
  event: SceneEvent;
}

/** Splits a batch of `events` into its events, in order, and the records that are no events. */
export function decodeEvents(batch: MSKEvent): { events: ReceivedEvent[]; failures: Failure[] } {
  const events: ReceivedEvent[] = [];
  const failures: Failure[] = [];
  for (const record of recordsOf(batch)) {
    const event = parseSceneEvent(fromLambdaRecord(record).value);
    if (event && isPossibleTime(event.at)) events.push({ record, event });
    else
      failures.push({
        record,
        code: 'EVENT_INVALID',
        reason: event ? `has a time that is not ${POSSIBLE}` : 'is no event',
      });
  }
  return { events, failures };
}

const PUT_CONCURRENCY = 16;

export interface FailureDependencies {
  putFailed: PutFailed;
  logger: Pick<Logger, 'warn'>;
}

/** Puts failed records into failed/, logs each of them, and counts them under the stage's name. */
export async function putAllFailed(
  stage: string,
  failures: readonly Failure[],
  { putFailed, logger }: FailureDependencies,
): Promise<void> {
  // All uploads end before this rejects: a late one could store a dead letter of a record that a retry processes.
  await inParallel(failures, PUT_CONCURRENCY, ({ record, reason, code }) =>
    putFailed(record, reason, { code }),
  );
  for (const { record, reason } of failures) logger.warn(`${positionOf(record)} failed: ${reason}`);
  for (const [stream, failed] of Map.groupBy(failures, ({ record }) => claimedStream(record))) {
    emitMetrics(stage, stream, { FramesFailed: failed.length });
  }
  for (const [code, failed] of Map.groupBy(failures, (one) => one.code)) {
    emitFailures(stage, code, failed.length);
  }
}

/**
 * Creates a handler, or a function that does its work, at the first batch. If that fails, the next batch tries again.
 * @example
 * export const handler = lazyHandler(async () => createDetect({ detector, publish, putFailed, logger }));
 */
export function lazyHandler<Batch extends unknown[]>(
  create: () => Promise<(...batch: Batch) => Promise<void>>,
) {
  let handler: ReturnType<typeof create> | undefined;
  return async (...batch: Batch): Promise<void> => {
    handler ??= create().catch((error) => {
      handler = undefined;
      throw error;
    });
    await (await handler)(...batch);
  };
}

/** Groups received frames by stream; each stream's keep their order. */
export function byStream<Item extends Received>(items: readonly Item[]): Map<string, Item[]> {
  return Map.groupBy(items, ({ frame }) => frame.streamId);
}

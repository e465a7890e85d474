import {
  claimedStream,
  type Frame,
  fromLambdaRecord,
  InvalidRecordError,
  type MSKEvent,
  type MSKRecord,
  positionOf,
  type ReceivedRecord,
  recordsOf,
} from '@video-pipeline/frame';
import { parseSceneEvent, type SceneEvent } from '@video-pipeline/scene';
import type { Quarantine } from '@video-pipeline/storage';
import { emitMetrics, type Logger } from '@video-pipeline/telemetry';

/** A frame and the record it came in. */
export interface Received<F extends Frame = Frame> {
  record: MSKRecord;
  frame: F;
}

/** A record that can't be processed, however often it is tried. */
export interface Failure {
  record: MSKRecord;
  reason: string;
}

/** Splits an event into the frames it holds, in order, and the records that are none. */
export function decodeRecords<F extends Frame>(
  event: MSKEvent,
  decode: (record: ReceivedRecord) => F,
): { received: Received<F>[]; failures: Failure[] } {
  const received: Received<F>[] = [];
  const failures: Failure[] = [];
  for (const record of recordsOf(event)) {
    try {
      received.push({ record, frame: decode(fromLambdaRecord(record)) });
    } catch (error) {
      if (!(error instanceof InvalidRecordError)) throw error;
      failures.push({ record, reason: error.message });
    }
  }
  return { received, failures };
}

/** An event and the record it came in. */
export interface ReceivedEvent {
  record: MSKRecord;
  event: SceneEvent;
}

/** Splits a batch of `events` into the events that it holds, in order, and the records that are none. */
export function decodeEvents(batch: MSKEvent): { events: ReceivedEvent[]; failures: Failure[] } {
  const events: ReceivedEvent[] = [];
  const failures: Failure[] = [];
  for (const record of recordsOf(batch)) {
    const event = parseSceneEvent(fromLambdaRecord(record).value);
    if (event) events.push({ record, event });
    else failures.push({ record, reason: 'is no event' });
  }
  return { events, failures };
}

/** What {@link setAside} needs. */
export interface FailureDependencies {
  quarantine: Quarantine;
  logger: Pick<Logger, 'warn'>;
}

/** Puts failed records into quarantine, says so, and counts them under the stage's name. */
export async function setAside(
  stage: string,
  failures: readonly Failure[],
  { quarantine, logger }: FailureDependencies,
): Promise<void> {
  await Promise.all(failures.map(({ record, reason }) => quarantine(record, reason)));
  for (const { record, reason } of failures) logger.warn(`${positionOf(record)} failed: ${reason}`);
  for (const [stream, failed] of Map.groupBy(failures, ({ record }) => claimedStream(record))) {
    emitMetrics(stage, stream, { FramesFailed: failed.length });
  }
}

/** Groups received frames by stream; each stream's keep their order. */
export function byStream<Item extends Received>(items: readonly Item[]): Map<string, Item[]> {
  return Map.groupBy(items, ({ frame }) => frame.streamId);
}

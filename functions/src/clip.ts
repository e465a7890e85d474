import { setTimeout } from 'node:timers/promises';
import { type Config, readConfig } from '@video-pipeline/config';
import { clipKey, type MSKEvent } from '@video-pipeline/frame';
import {
  CLIP_VARIABLES,
  type ClipSettings,
  createPutFailed,
  createReader,
  createStore,
  hasPictureSince,
  inParallel,
  NotOursError,
  picturesOf,
  type Reader,
  rangeAround,
  type Store,
  type StreamRange,
} from '@video-pipeline/storage';
import { createLogger, emitMetrics } from '@video-pipeline/telemetry';
import { encodeClip } from './clip-encoder.ts';
import { ClipEncodingError } from './picture-reader.ts';
import {
  decodeEvents,
  type Failure,
  type FailureDependencies,
  lazyHandler,
  putAllFailed,
  type ReceivedEvent,
} from './records.ts';

interface ClipDependencies extends FailureDependencies {
  store: Store;
  reader: Reader;
  /** First folder of annotated frames. */
  prefix: string;
  settings: ClipSettings & Config<'BATCH_TIMEOUT_SECONDS'>;
  /** Waits `ms` milliseconds. Tests replace the real clock by it. */
  sleep?: (ms: number) => Promise<unknown>;
}

type Outcome = 'stored' | 'missing' | Failure;

/** Events in work at the same time: most of them wait for frames. */
const EVENT_CONCURRENCY = 8;
/** Most pictures of a clip, 15 s at 10 frames a second. Of more, this many are chosen at even distances. */
const MAX_PICTURES = 150;
const POLL_MS = 1_000;
/** Frames of a batch are stored in parallel: an older frame may be stored up to this much after the newest. */
const SETTLE_MS = 500;

/**
 * The Lambda that makes clips of events. For each record of `events` it waits until the annotated frames around the
 * event are stored. It makes an MP4 of them in `clips/`. Missing frames are left out. An event without any frame gets
 * no clip. An event that is delivered again overwrites its clip.
 * @example
 * const handler = createClip({ store, reader: createReader(), prefix: 'annotated', settings, putFailed, logger });
 */
export function createClip(dependencies: ClipDependencies) {
  const { store, reader, prefix, settings, logger } = dependencies;
  const makeClip = async ({ record, event }: ReceivedEvent, arrived: number): Promise<Outcome> => {
    const range = rangeAround(event.stream_id, event.at, settings);
    // A record of another producer may have no time, or one in seconds. It is not older than its event.
    const published = Math.min(arrived, Math.max(event.at, record.timestamp));
    await untilStored(range, published, dependencies);
    try {
      const pictures = await picturesOf(reader, prefix, range, MAX_PICTURES);
      if (pictures.length === 0) {
        logger.warn(`no frame is stored around event ${event.event_id} of stream '${event.stream_id}'`);
        return 'missing';
      }
      const body = await encodeClip(pictures);
      await store.put({ key: clipKey(event), body, contentType: 'video/mp4' });
    } catch (error) {
      if (error instanceof ClipEncodingError || error instanceof NotOursError)
        return { record, code: 'CLIP_IMPOSSIBLE', reason: error.message };
      throw error;
    }
    return 'stored';
  };

  return async (batch: MSKEvent): Promise<void> => {
    const arrived = Date.now();
    const { events, failures } = decodeEvents(batch);
    const outcomes = await inParallel(events, EVENT_CONCURRENCY, (one) => makeClip(one, arrived));
    failures.push(...outcomes.filter((outcome) => typeof outcome === 'object'));
    await putAllFailed('clip', failures, dependencies);
    report(events, outcomes);
  };
}

/**
 * Waits until the last frames of a range are stored, or are not expected any more.
 * @param publishedAt when the event was published, epoch milliseconds
 */
async function untilStored(
  { streamId, to }: StreamRange,
  publishedAt: number,
  { reader, prefix, settings, sleep = setTimeout }: ClipDependencies,
): Promise<void> {
  // From capture to storage a frame needs two batch windows and the work. The function itself has 300 s.
  const grace = Math.min(180_000, Math.max(20_000, 10_000 + 2_000 * settings.BATCH_TIMEOUT_SECONDS));
  const left = publishedAt + settings.CLIP_AFTER_SECONDS * 1000 + grace - Date.now();
  // Not the time of day, which may be set back.
  for (const end = performance.now() + left; performance.now() < end; ) {
    if (await hasPictureSince(reader, prefix, streamId, to)) {
      await sleep(SETTLE_MS);
      return;
    }
    await sleep(POLL_MS);
  }
}

function report(events: readonly ReceivedEvent[], outcomes: readonly Outcome[]): void {
  const indices = Map.groupBy(events.keys(), (index) => events[index]?.event.stream_id ?? '');
  for (const [stream, ofStream] of indices) {
    const count = (kind: Outcome) => ofStream.filter((index) => outcomes[index] === kind).length;
    emitMetrics('clip', stream, { ClipsStored: count('stored'), ClipsMissing: count('missing') });
  }
}

/** The handler as Lambda runs it, wired from the environment at its first batch. */
export const handler = lazyHandler(fromEnvironment);

async function fromEnvironment(): Promise<ReturnType<typeof createClip>> {
  const { S3_PREFIX, ...settings } = readConfig(['S3_PREFIX', 'BATCH_TIMEOUT_SECONDS', ...CLIP_VARIABLES]);
  const store = createStore();
  return createClip({
    store,
    reader: createReader(),
    prefix: S3_PREFIX,
    settings,
    putFailed: createPutFailed(store, 'clip'),
    logger: createLogger('clip'),
  });
}

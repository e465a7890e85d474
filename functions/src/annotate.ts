import { readConfig } from '@video-pipeline/config';
import {
  annotatedKey,
  type DetectedFrame,
  decodeDetectedFrame,
  detectionsKey,
  type MSKEvent,
} from '@video-pipeline/frame';
import { createPutFailed, createStore, type Store } from '@video-pipeline/storage';
import { createLogger, emitMetrics } from '@video-pipeline/telemetry';
import { annotateJpeg, drawable, PictureError, SizeMismatchError } from './drawing/annotate-jpeg.ts';
import { FRAMES_IN_WORK, inParallel } from './in-parallel.ts';
import {
  byStream,
  decodeRecords,
  type Failure,
  type FailureDependencies,
  putAllFailed,
  type Received,
} from './records.ts';

export interface AnnotateDependencies extends FailureDependencies {
  store: Store;
  /** First folder of annotated frames. */
  prefix: string;
}

/** A frame that is stored. */
interface Stored extends Received<DetectedFrame> {
  key: string;
  /** From capture to acknowledgement, milliseconds. */
  latencyMs: number;
}

/**
 * The Lambda that draws and stores: each frame of `detections` becomes a JPEG with its boxes, each stream of the batch
 * an NDJSON of what was seen. A broken picture is put into failed/; any other fault fails the batch, to be delivered
 * again, and every object then overwrites itself.
 */
export function createAnnotate(dependencies: AnnotateDependencies) {
  const { store, prefix } = dependencies;
  const annotate = async ({ record, frame }: Received<DetectedFrame>): Promise<Stored | Failure> => {
    const key = annotatedKey(prefix, frame);
    try {
      const body = await draw(frame);
      await store.put({ key, body, contentType: 'image/jpeg', metadata: metadataOf(frame) });
    } catch (error) {
      if (!(error instanceof PictureError)) throw error;
      const code = error instanceof SizeMismatchError ? 'SIZE_MISMATCH' : 'PICTURE_INVALID';
      return { record, code, reason: `the JPEG ${error.message}` };
    }
    return { record, frame, key, latencyMs: Date.now() - frame.capturedAt };
  };

  return async (event: MSKEvent): Promise<void> => {
    const { received, failures } = decodeRecords(event, decodeDetectedFrame);
    const stored: Stored[] = [];
    for (const outcome of await inParallel(received, FRAMES_IN_WORK, annotate)) {
      if ('reason' in outcome) failures.push(outcome);
      else stored.push(outcome);
    }
    await Promise.all([
      ...[...byStream(stored).values()].map((frames) => putDetections(store, frames)),
      putAllFailed('annotate', failures, dependencies),
    ]);
    report(stored);
  };
}

/** A frame whose picture can't be drawn for so many times will not be at the next either. */
const DRAW_ATTEMPTS = 3;

/** @throws PictureError, whatever the drawing throws: nothing that time can cure is in it */
async function draw(frame: DetectedFrame): Promise<Buffer> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await annotateJpeg(frame, frame.detections);
    } catch (cause) {
      if (cause instanceof PictureError) throw cause;
      if (attempt < DRAW_ATTEMPTS) continue;
      throw new PictureError(`failed ${attempt} times to be drawn on: ${(cause as Error).message}`, {
        cause,
      });
    }
  }
}

function metadataOf({ streamId, frameNumber, session, capturedAt }: DetectedFrame): Record<string, string> {
  return {
    stream_id: streamId,
    frame_number: String(frameNumber),
    session,
    captured_at: String(capturedAt),
  };
}

/**
 * Writes what was seen in the frames of one stream, one JSON object a line, named after the first of them. A batch that
 * is delivered again may be cut elsewhere and leave the same line in two objects: readers take one for each
 * `annotated_key`.
 */
async function putDetections(store: Store, frames: readonly Stored[]): Promise<void> {
  const [first] = frames;
  if (!first) return;
  const lines = frames.map(({ frame, key }) => {
    const { streamId, frameNumber, session, capturedAt, width, height, model, detections } = frame;
    const line = {
      stream_id: streamId,
      frame_number: frameNumber,
      session,
      captured_at: capturedAt,
      width,
      height,
      model,
      detections,
      annotated_key: key,
    };
    return `${JSON.stringify(line)}\n`;
  });
  await store.put({
    key: detectionsKey(first.frame, first.record),
    body: lines.join(''),
    contentType: 'application/x-ndjson',
  });
}

function report(stored: readonly Stored[]): void {
  for (const [stream, frames] of byStream(stored)) {
    const undrawn = frames.map(
      ({ frame }) => frame.detections.length - drawable(frame, frame.detections).length,
    );
    const notDrawn = undrawn.reduce((sum, count) => sum + count, 0);
    emitMetrics('annotate', stream, {
      ...(notDrawn > 0 ? { BoxesNotDrawn: notDrawn } : {}),
      FramesAnnotated: frames.length,
      CaptureToStored: frames.map(({ latencyMs }) => latencyMs),
    });
  }
}

const { S3_PREFIX } = readConfig(['S3_PREFIX']);
const store = createStore();

/** The handler as Lambda runs it, wired from the environment. Nothing is connected before the first batch. */
export const handler = createAnnotate({
  store,
  prefix: S3_PREFIX,
  putFailed: createPutFailed(store, 'annotate'),
  logger: createLogger('annotate'),
});

import { setTimeout as sleep } from 'node:timers/promises';
import type { DetectedFrame, Detection } from '@video-pipeline/frame';
import type { FailureCode } from '@video-pipeline/storage';
import sharp from 'sharp';
import { annotateJpeg, PictureError, SizeMismatchError } from './annotate-jpeg.ts';

const DRAW_ATTEMPTS = 3;
/** Wait between two attempts to draw, milliseconds. Other frames are done by then, and their memory is free. */
const DRAW_WAIT_MS = 500;

/** An error in drawing that the picture did not cause: memory was short, for example. */
class DrawingError extends Error {}

/** @throws PictureError at the first attempt, DrawingError after the last one */
export async function drawWithRetries(
  frame: DetectedFrame,
  how: Parameters<typeof annotateJpeg>[2],
): Promise<Buffer> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await annotateJpeg(frame, frame.detections, how);
    } catch (cause) {
      if (cause instanceof PictureError) throw cause;
      const { message } = cause as Error;
      if (attempt === DRAW_ATTEMPTS)
        throw new DrawingError(`could not be drawn on in ${attempt} attempts: ${message}`, { cause });
    }
    await sleep(DRAW_WAIT_MS);
  }
}

const SOMETHING: Detection = { class_id: 0, class_name: 'person', confidence: 1, bbox: [2, 2, 9, 9] };

/** Whether a grey picture of the frame's size can be drawn on now. If it can, the frame itself is at fault. */
export async function canDraw(
  { width, height }: DetectedFrame,
  how: Parameters<typeof annotateJpeg>[2],
): Promise<boolean> {
  try {
    const jpeg = await sharp({ create: { width, height, channels: 3, background: 'grey' } })
      .jpeg()
      .toBuffer();
    await annotateJpeg({ jpeg, width, height }, [SOMETHING], how);
    return true;
  } catch {
    return false;
  }
}

/** The code of a frame that could not be drawn on. Undefined for every other error. */
export function codeOf(error: unknown): FailureCode | undefined {
  if (error instanceof SizeMismatchError) return 'SIZE_MISMATCH';
  if (error instanceof PictureError) return 'PICTURE_INVALID';
  return error instanceof DrawingError ? 'FAILS_ALWAYS' : undefined;
}

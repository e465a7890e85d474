import { type Detection, isDetection, MAX_HEADER_BYTES } from '@video-pipeline/frame';
import { type FrameResult, InferenceClientError } from './client.ts';

export function badResponse(problem: string, cause?: unknown): InferenceClientError {
  return new InferenceClientError(`the inference server's answer ${problem}`, { cause });
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Whether it is a name that a record of `detections` carries: in a header, not empty. */
export function isModelName(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && Buffer.byteLength(value) <= MAX_HEADER_BYTES;
}

export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw badResponse('is not JSON', cause);
  }
}

/**
 * Reads the server's result for one frame.
 * @param item position in the answer, for the error
 * @throws InferenceClientError when it is neither a result nor an error
 */
export function parseResult(value: unknown, model: string, threshold: number, item: string): FrameResult {
  if (!isRecord(value)) throw badResponse(`${item} is no object`);
  if (typeof value.error === 'string') return { model, error: value.error };
  const { width, height, detections } = value;
  if (!isSide(width) || !isSide(height)) throw badResponse(`${item} has no width and height`);
  if (!Array.isArray(detections) || !detections.every(isDetection)) {
    throw badResponse(`${item} has something else than detections`);
  }
  const sure = detections.filter(({ confidence }) => confidence >= threshold);
  return { model, width, height, detections: sure.flatMap((one) => clip(one, width, height)) };
}

function isSide(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) > 0;
}

/** Clips a box to the picture. A box outside of the picture is left out. */
function clip(detection: Detection, width: number, height: number): Detection[] {
  const { class_id, class_name, confidence, bbox, polygon, keypoints } = detection;
  const x = (value: number) => Math.min(Math.max(value, 0), width);
  const y = (value: number) => Math.min(Math.max(value, 0), height);
  const clipped: Detection['bbox'] = [x(bbox[0]), y(bbox[1]), x(bbox[2]), y(bbox[3])];
  if (clipped[0] >= clipped[2] || clipped[1] >= clipped[3]) return [];
  const details = { ...(polygon && { polygon }), ...(keypoints && { keypoints }) };
  // A name with a lone surrogate would be invalid JSON for the tables.
  return [{ class_id, class_name: class_name.toWellFormed(), confidence, bbox: clipped, ...details }];
}

import type { Frame } from '@video-pipeline/frame';
import type { FrameResult } from './client.ts';
import { badResponse, isModelName, isRecord, parseJson, parseResult } from './response.ts';

/** The body of `POST /predict`, which accepts one stream at a time. */
export function encodePredict(streamId: string, frames: readonly Frame[]): string {
  return JSON.stringify({
    stream_id: streamId,
    frames: frames.map(({ frameNumber, jpeg }) => ({
      frame_number: frameNumber,
      frame_data: jpeg.toString('base64'),
    })),
  });
}

/**
 * Reads the answer of `POST /predict`. Results must come in the order of the request. A frame number alone does not
 * identify a frame, since a stream counts from 0 again when ingest restarts.
 * @throws InferenceClientError when it is not one result a frame, in order
 */
export function decodePredict(json: string, frames: readonly Frame[], threshold: number): FrameResult[] {
  const answer = parseJson(json);
  if (!isRecord(answer) || !isModelName(answer.model)) throw badResponse('has no model');
  const { model, results } = answer;
  if (!Array.isArray(results) || results.length !== frames.length) {
    throw badResponse(`does not have ${frames.length} results`);
  }
  return results.map((result: unknown, index) => {
    const number = frames[index]?.frameNumber;
    if (!isRecord(result) || result.frame_number !== number) {
      throw badResponse(`result ${index} is not that of frame ${number}`);
    }
    return parseResult(result, model, threshold, `result ${index}`);
  });
}

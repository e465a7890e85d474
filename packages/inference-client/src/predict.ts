import type { Frame } from '@video-pipeline/frame';
import { badAnswer, isRecord, parseJson, parseResult } from './answer.ts';
import type { FrameResult } from './client.ts';

/** The frames of one stream, and their positions among all frames. */
interface StreamFrames {
  streamId: string;
  frames: Frame[];
  /** `positions[i]` is the position of `frames[i]`. */
  positions: number[];
}

/** Groups frames by stream, since `/predict` accepts one stream at a time. */
export function byStream(frames: readonly Frame[]): StreamFrames[] {
  const streams = new Map<string, StreamFrames>();
  for (const [position, frame] of frames.entries()) {
    const { streamId } = frame;
    const stream = streams.get(streamId) ?? { streamId, frames: [], positions: [] };
    streams.set(streamId, stream);
    stream.frames.push(frame);
    stream.positions.push(position);
  }
  return [...streams.values()];
}

/** The body of `POST /predict`. */
export function encodePredict({ streamId, frames }: StreamFrames): string {
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
  if (!isRecord(answer) || typeof answer.model !== 'string') throw badAnswer('has no model');
  const { model, results } = answer;
  if (!Array.isArray(results) || results.length !== frames.length) {
    throw badAnswer(`does not have ${frames.length} results`);
  }
  return results.map((result: unknown, index) => {
    const number = frames[index]?.frameNumber;
    if (!isRecord(result) || result.frame_number !== number) {
      throw badAnswer(`result ${index} is not that of frame ${number}`);
    }
    return parseResult(result, model, threshold, `result ${index}`);
  });
}

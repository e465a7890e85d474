import type { Frame } from '@video-pipeline/frame';
import { type FrameResult, type InferenceClient, InferenceClientError } from './client.ts';

/** What a server answers to a request that it will never take: malformed, too large, not its kind of data. */
const REFUSED = new Set([400, 413, 415, 422]);

/**
 * Where the server refuses the frames as a whole, asks for each half alone, down to the frames that it refuses: those
 * get the refusal as their error, and hold up no other. Any other fault is thrown, as time may cure it.
 */
export function bisecting(detector: InferenceClient): InferenceClient {
  async function detect(frames: readonly Frame[], model?: string): Promise<FrameResult[]> {
    try {
      return await detector.detect(frames, model);
    } catch (error) {
      if (!(error instanceof InferenceClientError) || !REFUSED.has(error.status ?? 0)) throw error;
      if (frames.length <= 1) return frames.map(() => ({ model: '', error: error.message }));
      const middle = frames.length >> 1;
      return [
        ...(await detect(frames.slice(0, middle), model)),
        ...(await detect(frames.slice(middle), model)),
      ];
    }
  }
  return { detect };
}

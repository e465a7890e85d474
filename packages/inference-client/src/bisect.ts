import type { Frame } from '@video-pipeline/frame';
import { type FrameResult, type InferenceClient, InferenceClientError } from './client.ts';

/** Statuses for a request that a retry can't help: malformed, too large, or of a wrong type. */
const REFUSED = new Set([400, 413, 415, 422]);

/**
 * If the server refuses the frames as a whole, this asks for each half alone, down to single frames. A frame that is
 * refused alone gets the refusal as its error, and delays no other frame. All other errors are thrown, since a later
 * attempt may succeed.
 */
export function bisecting(detector: InferenceClient): InferenceClient {
  async function detect(frames: readonly Frame[], model?: string): Promise<FrameResult[]> {
    try {
      return await detector.detect(frames, model);
    } catch (error) {
      if (!(error instanceof InferenceClientError) || !REFUSED.has(error.status ?? 0)) throw error;
      if (frames.length <= 1) return frames.map(() => ({ model: '', error: error.message }));
      const middle = frames.length >> 1;
      const first = await detect(frames.slice(0, middle), model);
      return [...first, ...(await detect(frames.slice(middle), model))];
    }
  }
  return { detect };
}

import type { Frame } from '@video-pipeline/frame';
import { type FrameResult, type InferenceClient, InferenceClientError } from './client.ts';

/** Statuses for a request that a retry can't help: malformed, too large, or of a wrong type. */
const REFUSED = new Set([400, 413, 415, 422]);

/** A grey JPEG of 32 x 32. */
const GREY = Buffer.from(
  '/9j/2wBDABALDA4MChAODQ4SERATGCgaGBYWGDEjJR0oOjM9PDkzODdASFxOQERXRTc4UG1RV19iZ2hnPk1xeXBkeFxlZ2P/2wBD' +
    'ARESEhgVGC8aGi9jQjhCY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2P/wAARCAAgACAD' +
    'ASIAAhEBAxEB/8QAFAABAAAAAAAAAAAAAAAAAAAAAP/EABQQAQAAAAAAAAAAAAAAAAAAAAD/xAAUAQEAAAAAAAAAAAAAAAAAAAAA' +
    '/8QAFBEBAAAAAAAAAAAAAAAAAAAAAP/aAAwDAQACEQMRAD8AAAAAAAAA/9k=',
  'base64',
);

/**
 * If the server refuses the frames as a whole, this asks for each half alone, down to single frames. A frame that is
 * refused alone gets the refusal as its error, and delays no other frame. All other errors are thrown, since a later
 * attempt may succeed. So is the refusal if the server refuses all frames, and any other picture, too.
 */
export function bisecting(detector: InferenceClient): InferenceClient {
  async function halved(frames: readonly Frame[], model?: string): Promise<FrameResult[]> {
    try {
      return await detector.detect(frames, model);
    } catch (error) {
      if (!(error instanceof InferenceClientError) || !REFUSED.has(error.status ?? 0)) throw error;
      if (frames.length <= 1) return frames.map(() => ({ model: '', error: error.message }));
      const middle = frames.length >> 1;
      const first = await halved(frames.slice(0, middle), model);
      return [...first, ...(await halved(frames.slice(middle), model))];
    }
  }
  return {
    async detect(frames, model) {
      const results = await halved(frames, model);
      const [first] = frames;
      if (first && results.every((one) => one.model === ''))
        await detector.detect([{ ...first, jpeg: GREY, width: 32, height: 32 }], model);
      return results;
    },
  };
}

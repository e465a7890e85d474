import { annotatedSince, capturedAtOf } from '@video-pipeline/frame';
import { evenSample, type Reader } from '@video-pipeline/storage';
import type { Percentiles } from './api.ts';
import { percentiles } from './percentiles.ts';

const WINDOW_MS = 30_000;
/** Most streams that are listed: each listing costs a request, and a sample of the streams is enough. */
const MAX_STREAMS = 32;

/**
 * Latency from capture to stored picture: the object's LastModified minus the capture time in its key. S3 rounds
 * LastModified down to whole seconds, so half a second is added.
 * @param newest newest frame with detections of each stream; objects of frames up to 30 s older are used. Of many
 * streams, a sample is used
 */
export async function storedLatency(
  bucket: Pick<Reader, 'page'>,
  prefix: string,
  newest: readonly { stream_id: string; captured_at: number }[],
): Promise<Percentiles | null> {
  const pages = evenSample(newest, MAX_STREAMS).map(async ({ stream_id: streamId, captured_at }) => {
    // Keys sort by time, so the listing begins at the start of the window.
    const after = annotatedSince(prefix, streamId, captured_at - WINDOW_MS);
    const { objects } = await bucket.page(`${prefix}/${streamId}/`, { after });
    return objects.map(({ key, stored }) => stored + 500 - capturedAtOf(key));
  });
  return percentiles((await Promise.all(pages)).flat().filter(Number.isFinite));
}

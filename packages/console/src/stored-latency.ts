import { annotatedSince, capturedAtOf } from '@video-pipeline/frame';
import type { Bucket } from '@video-pipeline/recovery/bucket';
import type { Percentiles } from './api.ts';
import { percentiles } from './percentiles.ts';

const WINDOW_MS = 30_000;

/**
 * Latency from capture to stored picture: the object's LastModified minus the capture time in its key. S3 rounds
 * LastModified down to whole seconds, so half a second is added.
 * @param newest newest frame with detections of each stream; objects of frames up to 30 s older are used
 */
export async function storedLatency(
  bucket: Bucket,
  prefix: string,
  newest: readonly { stream_id: string; captured_at: number }[],
): Promise<Percentiles | null> {
  const pages = newest.map(async ({ stream_id: streamId, captured_at }) => {
    // Keys sort by time, so the listing begins at the start of the window.
    const after = annotatedSince(prefix, streamId, captured_at - WINDOW_MS);
    const { objects } = await bucket.page(`${prefix}/${streamId}/`, { after });
    return objects.map(({ key, stored }) => stored + 500 - capturedAtOf(key));
  });
  return percentiles((await Promise.all(pages)).flat());
}

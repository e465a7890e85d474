import { annotatedSince, capturedAtOf } from '@video-pipeline/frame';
import type { Bucket } from '@video-pipeline/recovery/bucket';
import type { Percentiles } from './api.ts';
import { percentiles } from './percentiles.ts';

const WINDOW_MS = 30_000;

/**
 * From capture to stored picture: the object's LastModified, which S3 gives in whole seconds rounded down, minus the
 * capture time in its key. Half a second is added to make up for that.
 * @param newest newest frame with detections of each stream; objects of frames up to 30 s older are looked at
 */
export async function storedLatency(
  bucket: Bucket,
  prefix: string,
  newest: readonly { stream_id: string; captured_at: number }[],
): Promise<Percentiles | null> {
  const pages = newest.map(async ({ stream_id: streamId, captured_at }) => {
    // Keys sort by time, so that one listing begins where the window does.
    const after = annotatedSince(prefix, streamId, captured_at - WINDOW_MS);
    const { objects } = await bucket.page(`${prefix}/${streamId}/`, { after });
    return objects.map(({ key, stored }) => stored + 500 - capturedAtOf(key));
  });
  return percentiles((await Promise.all(pages)).flat());
}

import { annotatedKey } from '@video-pipeline/frame';
import type { Percentiles } from './api.ts';
import type { ArchiveBucket } from './bucket.ts';
import { percentiles } from './percentiles.ts';

const WINDOW_MS = 60_000;

/**
 * From capture to stored picture, of the frames captured in the last minute: the object's LastModified, which S3
 * gives in whole seconds rounded down, minus the capture time in its key. Half a second is added to make up for that.
 */
export async function storedLatency(
  bucket: ArchiveBucket,
  prefix: string,
  streams: readonly string[],
  now: number,
): Promise<Percentiles | null> {
  const pages = streams.map(async (streamId) => {
    // Keys sort by time, so that one listing begins where the window does.
    const after = annotatedKey(prefix, { streamId, capturedAt: now - WINDOW_MS, frameNumber: 0 });
    const { objects } = await bucket.page(`${prefix}/${streamId}/`, { after });
    return objects.map(({ key, stored }) => stored + 500 - capturedAtOf(key));
  });
  return percentiles((await Promise.all(pages)).flat());
}

function capturedAtOf(key: string): number {
  return Number.parseInt(key.slice(key.lastIndexOf('/') + 1), 10);
}

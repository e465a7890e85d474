import { HOUR_MS } from '@video-pipeline/frame';
import { cached } from '@video-pipeline/storage';
import { type Counts, type FoundFrame, foundFrames, type Tables } from '@video-pipeline/tables';
import type { Timeline } from './api.ts';
import { addCount, BUCKET_MS, KEEP_MS } from './timeline.ts';

/** How far back the last frame of a silent stream is searched, in three steps, hours. */
const STEPS = [2, 48, 24 * 60];
/** Most frames of one stream that were captured in the same millisecond. */
const SAME_TIME = 100;
/** How long counts from before the console's start are cached, milliseconds. Only late frames change them. */
const PAST_TTL_MS = 600_000;
/** Most streams in the cache. Six hours of a stream in buckets of 10 s are up to 32,000 counts. */
const MAX_STREAMS = 64;

/** The stored frame of a stream with the latest capture time; `undefined` when none is stored. */
export async function lastStored(tables: Tables, stream: string): Promise<FoundFrame | undefined> {
  const now = Date.now();
  for (const hours of STEPS) {
    const range = { from: Math.max(0, now - hours * HOUR_MS), to: now + HOUR_MS };
    const [frame] = await foundFrames(tables, { streams: [stream], confidence: 0, ...range, limit: 1 });
    if (frame) return frame;
  }
  return undefined;
}

export async function findStored(
  tables: Tables,
  { streamId, capturedAt, frameNumber }: { streamId: string; capturedAt: number; frameNumber: number },
): Promise<FoundFrame | undefined> {
  const range = { from: capturedAt, to: capturedAt + 1 };
  const criteria = { streams: [streamId], confidence: 0, ...range, limit: SAME_TIME };
  const frames = await foundFrames(tables, criteria);
  return frames.find(({ frame_number }) => frame_number === frameNumber);
}

/** @returns a function that gives a stream's stored counts of the last hours, in buckets of the timeline's length */
export function pastCounts(tables: Tables): (stream: string) => Promise<{ from: number; counts: Counts }> {
  return cached(
    async (stream) => {
      const to = Date.now();
      const from = Math.floor((to - KEEP_MS) / BUCKET_MS) * BUCKET_MS;
      const { counts, complete } = await tables.counts([stream], { from, to, binMs: BUCKET_MS });
      if (!complete) throw new Error('the open hours are still being read');
      return { from, counts };
    },
    PAST_TTL_MS,
    MAX_STREAMS,
  );
}

/**
 * Adds stored counts of the buckets that the timeline did not count itself. These may be between others: a frame may be
 * late, or dated ahead.
 */
export function withPast(
  timeline: Timeline,
  past: { from: number; counts: Counts },
  isCounted: (start: number) => boolean,
): Timeline {
  for (const { bin, name, count } of past.counts) {
    const start = past.from + bin * BUCKET_MS;
    if (!isCounted(start)) addCount(timeline, start, name, count);
  }
  return timeline;
}

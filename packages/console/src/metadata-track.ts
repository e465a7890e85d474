import { type FrameFacts, HOUR_MS } from '@video-pipeline/frame';

/** How long the last cue lasts, milliseconds. */
const LAST_MS = 100;

/**
 * The detections in a segment, as WebVTT with a cue of JSON for each frame (a track of kind `metadata`). Times are
 * those of the segment's media: they count from the start of the hour of `from`, epoch milliseconds.
 * @see https://www.w3.org/TR/webvtt1/#introduction-metadata
 */
export function metadataTrackOf(frames: readonly FrameFacts[], from: number): string {
  const hour = Math.floor(from / HOUR_MS) * HOUR_MS;
  const inOrder = frames.toSorted((a, b) => a.captured_at - b.captured_at || a.frame_number - b.frame_number);
  const cues = inOrder.map(({ captured_at, frame_number, width, height, detections }, i) => {
    const until = Math.max(captured_at + 1, inOrder[i + 1]?.captured_at ?? captured_at + LAST_MS);
    // A cue's text must not hold its arrow.
    const text = JSON.stringify({ captured_at, frame_number, width, height, detections });
    return `${timeOf(captured_at - hour)} --> ${timeOf(until - hour)}\n${text.replaceAll('>', '\\u003e')}\n`;
  });
  return ['WEBVTT\n', ...cues].join('\n');
}

/** `00:59:59.900`; a segment is shorter than a day. */
function timeOf(ms: number): string {
  return new Date(ms).toISOString().slice(11, 23);
}

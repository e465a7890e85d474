import type { DetectedFrame } from '@video-pipeline/frame';

/** A frame's name within its stream, also the name of its object in S3: `<captured_at>-<frame_number>`. */
export function frameId(frame: Pick<DetectedFrame, 'capturedAt' | 'frameNumber'>): string {
  return `${frame.capturedAt}-${frame.frameNumber}`;
}

/** Approximate memory of a detection, bytes. */
const DETECTION_BYTES = 300;
/** This many detections count as part of the frame itself. */
const FEW_DETECTIONS = 16;

/** Approximate memory of a frame, bytes. */
function weightOf({ jpeg, detections }: DetectedFrame): number {
  return jpeg.length + Math.max(0, detections.length - FEW_DETECTIONS) * DETECTION_BYTES;
}

function isEmptied({ jpeg, detections }: DetectedFrame): boolean {
  return jpeg.length + detections.length === 0;
}

export interface CacheLimits {
  maxBytes: number;
  /** Most streams that are not listed. */
  maxOthers: number;
  isListed?: (streamId: string) => boolean;
}

/**
 * The newest frames of every stream with their pictures, within a limit of bytes. Beyond the limit, the oldest frame of
 * any stream is removed. The newest frame of a stream stays as long as others can be removed. After that, it stays
 * without picture and detections. Listed streams are always kept. Of other streams at most `maxOthers` are kept: beyond
 * that, the one that was silent longest is forgotten.
 */
export function frameCache({ maxBytes, maxOthers, isListed = () => false }: CacheLimits) {
  /** Stream id -> its frames by id, oldest first. The most recently active stream is last. */
  const streams = new Map<string, Map<string, DetectedFrame>>();
  let bytes = 0;
  let forgotten = 0;

  /** Removes the oldest frame of the streams that hold several. If none does, empties the oldest frame of all. */
  function dropOldest(): boolean {
    let oldest: { frames: Map<string, DetectedFrame>; frame: DetectedFrame } | undefined;
    for (const frames of streams.values()) {
      const [frame] = frames.values();
      if (!frame || isEmptied(frame)) continue;
      const isBetter =
        !oldest ||
        (frames.size > 1 && oldest.frames.size === 1) ||
        (frames.size > 1 === oldest.frames.size > 1 && frame.capturedAt < oldest.frame.capturedAt);
      if (isBetter) oldest = { frames, frame };
    }
    if (!oldest) return false;
    const { frames, frame } = oldest;
    const isNewest = frames.size === 1;
    drop(frames, frameId(frame));
    if (isNewest) frames.set(frameId(frame), { ...frame, jpeg: Buffer.alloc(0), detections: [] });
    return true;
  }
  function drop(frames: Map<string, DetectedFrame>, id: string): void {
    const frame = frames.get(id);
    if (frames.delete(id) && frame) bytes -= weightOf(frame);
  }
  function forgetOthers(): void {
    const others = [...streams.keys()].filter((streamId) => !isListed(streamId));
    for (const streamId of others.slice(0, Math.max(0, others.length - maxOthers))) {
      for (const frame of streams.get(streamId)?.values() ?? []) bytes -= weightOf(frame);
      streams.delete(streamId);
      forgotten += 1;
    }
  }
  return {
    add(frame: DetectedFrame): void {
      const frames = streams.get(frame.streamId) ?? new Map<string, DetectedFrame>();
      const isNew = !streams.delete(frame.streamId);
      streams.set(frame.streamId, frames);
      // A redelivered frame replaces itself. A frame without its picture is no longer needed.
      drop(frames, frameId(frame));
      const [oldest] = frames.values();
      if (oldest && isEmptied(oldest)) frames.delete(frameId(oldest));
      frames.set(frameId(frame), frame);
      bytes += weightOf(frame);
      if (isNew) forgetOthers();
      while (bytes > maxBytes && dropOldest()) {}
    },
    get: (streamId: string, id: string) => streams.get(streamId)?.get(id),
    /** Frames of a stream, oldest first. */
    of: (streamId: string) => [...(streams.get(streamId)?.values() ?? [])],
    streams: () => [...streams.keys()],
    /** Approximate memory of all frames, bytes. */
    bytes: () => bytes,
    /** How often an unlisted stream was forgotten, since there were too many. */
    forgotten: () => forgotten,
  };
}

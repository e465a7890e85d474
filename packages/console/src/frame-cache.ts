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

/**
 * The newest frames of every stream with their pictures, within a limit of bytes. Beyond the limit, the oldest frame of
 * any stream is removed. The newest frame of a stream stays as long as others can be removed. After that, it stays
 * without picture and detections. Listed streams are always kept. Of other streams at most `maxOthers` are kept: beyond
 * that, the one that was silent longest is forgotten.
 */
export class FrameCache {
  /** Stream id -> its frames by id, oldest first. The most recently active stream is last. */
  readonly #streams = new Map<string, Map<string, DetectedFrame>>();
  readonly #maxBytes: number;
  readonly #maxOthers: number;
  readonly #isListed: (streamId: string) => boolean;
  #bytes = 0;
  #forgotten = 0;

  constructor(maxBytes: number, maxOthers: number, isListed: (streamId: string) => boolean = () => false) {
    this.#maxBytes = maxBytes;
    this.#maxOthers = maxOthers;
    this.#isListed = isListed;
  }

  add(frame: DetectedFrame): void {
    const frames = this.#streams.get(frame.streamId) ?? new Map<string, DetectedFrame>();
    const isNew = !this.#streams.delete(frame.streamId);
    this.#streams.set(frame.streamId, frames);
    // A redelivered frame replaces itself. A frame without its picture is no longer needed.
    this.#drop(frames, frameId(frame));
    const [oldest] = frames.values();
    if (oldest && isEmptied(oldest)) frames.delete(frameId(oldest));
    frames.set(frameId(frame), frame);
    this.#bytes += weightOf(frame);
    if (isNew) this.#forgetOthers();
    while (this.#bytes > this.#maxBytes && this.#dropOldest()) {}
  }

  get(streamId: string, id: string): DetectedFrame | undefined {
    return this.#streams.get(streamId)?.get(id);
  }

  /** Frames of a stream, oldest first. */
  of(streamId: string): DetectedFrame[] {
    return [...(this.#streams.get(streamId)?.values() ?? [])];
  }

  streams(): string[] {
    return [...this.#streams.keys()];
  }

  /** Approximate memory of all frames, bytes. */
  get bytes(): number {
    return this.#bytes;
  }

  /** How often an unlisted stream was forgotten, since there were too many. */
  get forgotten(): number {
    return this.#forgotten;
  }

  /** Removes the oldest frame of streams with several frames. Without any, it empties the oldest of the newest. */
  #dropOldest(): boolean {
    let oldest: { frames: Map<string, DetectedFrame>; frame: DetectedFrame } | undefined;
    for (const frames of this.#streams.values()) {
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
    this.#drop(frames, frameId(frame));
    if (isNewest) frames.set(frameId(frame), { ...frame, jpeg: Buffer.alloc(0), detections: [] });
    return true;
  }

  #drop(frames: Map<string, DetectedFrame>, id: string): void {
    const frame = frames.get(id);
    if (!frame) return;
    frames.delete(id);
    this.#bytes -= weightOf(frame);
  }

  #forgetOthers(): void {
    const others = this.streams().filter((streamId) => !this.#isListed(streamId));
    for (const streamId of others.slice(0, Math.max(0, others.length - this.#maxOthers))) {
      for (const frame of this.#streams.get(streamId)?.values() ?? []) this.#bytes -= weightOf(frame);
      this.#streams.delete(streamId);
      this.#forgotten += 1;
    }
  }
}

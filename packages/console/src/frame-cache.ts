import type { DetectedFrame } from '@video-pipeline/frame';

/** A frame's name within its stream, also the name of its object in S3: `<captured_at>-<frame_number>`. */
export function frameId(frame: Pick<DetectedFrame, 'capturedAt' | 'frameNumber'>): string {
  return `${frame.capturedAt}-${frame.frameNumber}`;
}

/**
 * The newest frames of every stream, pictures included, within a budget of bytes: when it is spent the oldest frame
 * goes, whatever its stream, except that the newest of a stream stays. Beyond `maxStreams` the stream that was
 * silent the longest is forgotten.
 */
export class FrameCache {
  /** Stream id -> its frames by id, oldest first. The stream heard of last is last. */
  readonly #streams = new Map<string, Map<string, DetectedFrame>>();
  readonly #maxBytes: number;
  readonly #maxStreams: number;
  #bytes = 0;

  constructor(maxBytes: number, maxStreams: number) {
    this.#maxBytes = maxBytes;
    this.#maxStreams = maxStreams;
  }

  add(frame: DetectedFrame): void {
    const frames = this.#streams.get(frame.streamId) ?? new Map<string, DetectedFrame>();
    this.#streams.delete(frame.streamId);
    this.#streams.set(frame.streamId, frames);
    // A redelivered frame takes its place anew.
    this.#drop(frames, frameId(frame));
    frames.set(frameId(frame), frame);
    this.#bytes += frame.jpeg.length;
    if (this.#streams.size > this.#maxStreams) this.#forgetSilentStream();
    while (this.#bytes > this.#maxBytes && this.#dropOldest());
  }

  get(streamId: string, id: string): DetectedFrame | undefined {
    return this.#streams.get(streamId)?.get(id);
  }

  /** The stream's frames, oldest first. */
  of(streamId: string): DetectedFrame[] {
    return [...(this.#streams.get(streamId)?.values() ?? [])];
  }

  streams(): string[] {
    return [...this.#streams.keys()];
  }

  /** Bytes of all pictures held. */
  get bytes(): number {
    return this.#bytes;
  }

  #dropOldest(): boolean {
    let oldest: { frames: Map<string, DetectedFrame>; frame: DetectedFrame } | undefined;
    for (const frames of this.#streams.values()) {
      const [frame] = frames.values();
      if (!frame || frames.size < 2) continue;
      if (!oldest || frame.capturedAt < oldest.frame.capturedAt) oldest = { frames, frame };
    }
    if (oldest) this.#drop(oldest.frames, frameId(oldest.frame));
    return oldest !== undefined;
  }

  #drop(frames: Map<string, DetectedFrame>, id: string): void {
    const frame = frames.get(id);
    if (!frame) return;
    frames.delete(id);
    this.#bytes -= frame.jpeg.length;
  }

  #forgetSilentStream(): void {
    const [silent] = this.#streams.keys();
    if (silent === undefined) return;
    for (const frame of this.#streams.get(silent)?.values() ?? []) this.#bytes -= frame.jpeg.length;
    this.#streams.delete(silent);
  }
}

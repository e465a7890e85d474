import type { Frame } from '@video-pipeline/frame';

/** Frames of one stream that wait for Kafka, oldest first. */
export class FrameBuffer {
  readonly #frames: { frame: Frame; at: number }[] = [];
  #bytes = 0;
  /** Whether frames may be dropped: those of a camera. A file waits instead. A stream may change between the two. */
  live = false;

  get length(): number {
    return this.#frames.length;
  }

  /** JPEG bytes of all frames. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Adds a frame.
   * @param maxMs longest time for which a frame is kept, milliseconds; by default no limit
   * @param at when the frame came, by a clock that is never set, milliseconds
   * @returns the frames that are dropped for it, oldest first
   */
  push(frame: Frame, maxMs = Number.POSITIVE_INFINITY, at = performance.now()): Frame[] {
    this.live = maxMs < Number.POSITIVE_INFINITY;
    this.#frames.push({ frame, at });
    const kept = this.#frames.findIndex((one) => one.at >= at - maxMs);
    const dropped = this.#frames.splice(0, kept).map((one) => one.frame);
    this.#bytes += frame.jpeg.length - dropped.reduce((sum, { jpeg }) => sum + jpeg.length, 0);
    return dropped;
  }

  get oldest(): Frame | undefined {
    return this.#frames[0]?.frame;
  }

  takeAll(): Frame[] {
    this.#bytes = 0;
    return this.#frames.splice(0).map(({ frame }) => frame);
  }

  shift(): Frame | undefined {
    const frame = this.#frames.shift()?.frame;
    this.#bytes -= frame?.jpeg.length ?? 0;
    return frame;
  }
}

/**
 * Drops frames of live streams until all are within `maxBytes`: each time the oldest of the stream with the most bytes.
 * So large frames of one camera take no memory from the others. Cameras' clocks do not matter.
 * @returns the dropped frames
 */
export function dropOverflow(buffers: Iterable<FrameBuffer>, maxBytes: number): Frame[] {
  const live = [...buffers].filter((buffer) => buffer.live);
  let over = live.reduce((sum, { bytes }) => sum + bytes, 0) - maxBytes;
  const dropped: Frame[] = [];
  while (over > 0) {
    const frame = live.reduce((max, one) => (one.bytes > max.bytes ? one : max)).shift();
    if (!frame) break;
    dropped.push(frame);
    over -= frame.jpeg.length;
  }
  return dropped;
}

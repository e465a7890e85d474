import { DAY_MS } from './hours.ts';

/** One object that a model saw, in pixels of its frame. */
export interface Detection {
  /** Index into the model's class list, 0-based. */
  class_id: number;
  class_name: string;
  /** 0..1 */
  confidence: number;
  /** `[x1, y1, x2, y2]` in pixels, origin top left, `x1 <= x2`, `y1 <= y2`. */
  bbox: [number, number, number, number];
  /**
   * Outline of the object's mask, or the four corners of its oriented box: at least three points `[x, y]` in pixels.
   * Only from models that give it.
   */
  polygon?: [number, number][];
  /** Key points, each `[x, y]` or `[x, y, confidence]`, in the model's order. Only from models that give them. */
  keypoints?: number[][];
  /** The object's track in its stream, at most 64 characters. Absent without tracking. */
  track_id?: string;
  /** Zones of the stream that the object is in. Absent if there are none. */
  zones?: string[];
}

/** One sampled picture of one camera, as ingest publishes it. */
export interface Frame {
  streamId: string;
  /** 0-based, counts per ingest session; a dropped frame leaves a gap. */
  frameNumber: number;
  /** Id of the ingest run that numbered the frame, of the form of a stream id. */
  session: string;
  /** When the frame was captured, epoch milliseconds. */
  capturedAt: number;
  /** Pixels of the upright picture, after the EXIF orientation if the JPEG has one. Ingest writes none. */
  width: number;
  /** Pixels of the upright picture. */
  height: number;
  jpeg: Buffer;
  /** The frame's span in a trace, if it is traced: https://www.w3.org/TR/trace-context/#traceparent-header */
  traceparent?: string;
}

export interface DetectedFrame extends Frame {
  detections: Detection[];
  /** Name of the model that gave the detections. */
  model: string;
  /** Ids of the events that were found in the frame. Absent if there are none. */
  events?: string[];
  /** Times of events of an earlier batch that are certain only since this batch, epoch ms. Absent if there are none. */
  earlierEvents?: number[];
}

/** Position of a record in Kafka. */
export interface Position {
  topic: string;
  partition: number;
  offset: number;
}

/** Position of a frame's picture, for a record of `detections` without a picture. */
export interface PictureReference extends Position {
  /** The object of the annotated picture, once it is stored. */
  annotated_key: string;
}

/** A frame of `detections` for a subscriber: with its picture, or with the position of the picture. */
export type SeenFrame = Omit<DetectedFrame, 'jpeg'> & ({ jpeg: Buffer } | { picture: PictureReference });

/** `stream/session/number`: the id of a frame in every topic and object. */
export function idOf({ streamId, session, frameNumber }: Omit<Frame, 'jpeg'>): string {
  return `${streamId}/${session}/${frameNumber}`;
}

/** A frame without its picture, in the form of the archive and the console. */
export interface FrameFacts {
  stream_id: string;
  frame_number: number;
  session: string;
  captured_at: number;
  width: number;
  height: number;
  model: string;
  detections: Detection[];
}

export function factsOf(frame: Omit<DetectedFrame, 'jpeg'>): FrameFacts {
  const { streamId, frameNumber, session, capturedAt, width, height, model, detections } = frame;
  return {
    stream_id: streamId,
    frame_number: frameNumber,
    session,
    captured_at: capturedAt,
    width,
    height,
    model,
    detections,
  };
}

/** Earliest possible time of capture, epoch milliseconds. A time in seconds by mistake would be in January 1970. */
const EARLIEST = Date.UTC(2000);

/** A clock that shows an earlier time is not set: this program was written later. Epoch milliseconds. */
const WRITTEN = Date.UTC(2026);

/**
 * Whether a frame may have been captured then: from 2000 to a day from now. A camera's clock may be that far ahead. A
 * host whose own clock is not set, as after a start without a network, can't know what is ahead.
 */
export function isPossibleTime(epochMs: number): boolean {
  const now = Date.now();
  return epochMs >= EARLIEST && (now < WRITTEN || epochMs <= now + DAY_MS);
}

/** The longest stream id, in characters. It becomes part of S3 keys, metrics and logs. */
const MAX_STREAM_ID_LENGTH = 128;

/**
 * Whether `id` is a valid stream id: letters, digits, `.`, `_` and `-`, beginning with a letter or digit. The id
 * becomes a folder in S3 and a label in metrics.
 */
export function isStreamId(id: string): boolean {
  return id.length <= MAX_STREAM_ID_LENGTH && /^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(id);
}

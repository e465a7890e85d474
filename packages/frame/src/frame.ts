/** One object a model saw, in pixels of the frame it was seen in. */
export interface Detection {
  /** Index into the model's class list, 0-based. */
  class_id: number;
  class_name: string;
  /** 0..1 */
  confidence: number;
  /** `[x1, y1, x2, y2]` in pixels, origin top left, `x1 <= x2`, `y1 <= y2`. */
  bbox: [number, number, number, number];
  /** The object's track in its stream, of at most 64 characters, once tracking knows it. */
  track_id?: string;
  /** Zones of its stream that it is in, where it is in any. */
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
  /** Pixels of the upright picture: where the JPEG has an EXIF orientation (ingest writes none), after it. */
  width: number;
  /** Pixels, likewise. */
  height: number;
  jpeg: Buffer;
  /** The frame's place in a trace, where it is traced: https://www.w3.org/TR/trace-context/#traceparent-header */
  traceparent?: string;
}

/** A frame and what was seen in it. */
export interface DetectedFrame extends Frame {
  detections: Detection[];
  /** Name of the model that saw it. */
  model: string;
}

/** Where a record lies in Kafka. */
export interface Place {
  topic: string;
  partition: number;
  offset: number;
}

/** Where the picture of a frame is to be had, of a record of `detections` that does not carry it. */
export interface PictureReference extends Place {
  /** The object of the annotated picture, once it is stored. */
  annotated_key: string;
}

/** A frame of `detections` as a subscriber gets it: with its picture, or with where that is. */
export type SeenFrame = Omit<DetectedFrame, 'jpeg'> & ({ jpeg: Buffer } | { picture: PictureReference });

/** What is known of a frame without its picture, as the archive and the console's page have it. */
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

/** The longest stream id, in characters. It becomes part of S3 keys, metrics and logs. */
const MAX_STREAM_ID_LENGTH = 128;

/**
 * Whether `id` may name a stream: letters, digits, `.`, `_` and `-`, not starting with a punctuation mark.
 * Nothing else, since the id becomes a folder in S3 and a label in metrics.
 */
export function isStreamId(id: string): boolean {
  return id.length <= MAX_STREAM_ID_LENGTH && /^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(id);
}

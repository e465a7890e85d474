import {
  type DetectedFrame,
  type Detection,
  type Frame,
  isStreamId,
  type PictureReference,
  type SeenFrame,
} from './frame.ts';

/** A Kafka record for kafkajs: key, value and UTF-8 headers. */
export interface EncodedRecord {
  key: string;
  value: Buffer;
  headers: Record<string, string>;
}

type HeaderValue = Buffer | string | (Buffer | string)[] | undefined;

/** A Kafka record from kafkajs or {@link fromLambdaRecord}. */
export interface ReceivedRecord {
  key: Buffer | string | null;
  value: Buffer | null;
  headers?: Record<string, HeaderValue> | undefined;
}

/** A record that is not a frame. A retry can't help: the record is a dead letter, and goes into `failed/`. */
export class InvalidRecordError extends Error {
  override readonly name = 'InvalidRecordError';
  /** The header (or `key`, `value`) that is wrong. */
  readonly field: string;

  constructor(field: string, problem: string, options?: ErrorOptions) {
    super(`record ${field === 'key' || field === 'value' ? field : `header '${field}'`} ${problem}`, options);
    this.field = field;
  }
}

/** The largest side a JPEG can have, in pixels (ITU-T T.81, B.2.2). */
const MAX_SIDE = 65_535;
/** The latest time a JavaScript Date can hold, epoch milliseconds. */
export const MAX_TIME = 8.64e15;
/** The longest header of a record, bytes, except for the detections. */
export const MAX_HEADER_BYTES = 1024;
/** The value of a record whose picture is elsewhere. */
const NO_PICTURE = Buffer.alloc(0);
/** The longest JSON of a picture's position, bytes. It holds an S3 key of up to 1,024 bytes. */
const MAX_REFERENCE_BYTES = 4096;
const TRACEPARENT = /^00-(?!0{32})[\da-f]{32}-(?!0{16})[\da-f]{16}-[\da-f]{2}$/;
const MAX_TRACK_ID_LENGTH = 64;
/** The longest JSON of a frame's detections in a record, and list of its events, bytes: some 5,000 objects. */
export const MAX_DETECTIONS_BYTES = 512 * 1024;
/** How deep JSON may be nested. What is far deeper can be read, but writing it again exhausts the stack. */
const MAX_DEPTH = 32;

/**
 * @returns the record for the topic `video-frames`.
 * @example
 * const frame = { streamId: 'gate', frameNumber: 9, session: 'a1', capturedAt: 1795590000900, width: 1280, height: 720 };
 * const record = encodeFrame({ ...frame, jpeg: Buffer.from('a JPEG') });
 * decodeFrame({ ...record, key: Buffer.from(record.key) }).frameNumber; // => 9
 */
export function encodeFrame(frame: Frame): EncodedRecord {
  return {
    key: frame.streamId,
    value: frame.jpeg,
    headers: {
      stream_id: frame.streamId,
      frame_number: String(frame.frameNumber),
      session: frame.session,
      captured_at: String(frame.capturedAt),
      width: String(frame.width),
      height: String(frame.height),
      ...(frame.traceparent === undefined ? {} : { traceparent: frame.traceparent }),
    },
  };
}

/** @returns the record for the topic `detections`. */
export function encodeDetectedFrame(frame: DetectedFrame): EncodedRecord {
  const record = encodeFrame(frame);
  record.headers.detections = JSON.stringify(frame.detections);
  record.headers.model = frame.model;
  if (frame.events) record.headers.events = frame.events.join();
  if (frame.earlierEvents) record.headers.earlier_events = frame.earlierEvents.join();
  return record;
}

/** @returns the record for the topic `detections` with the position of the picture instead of the picture. */
export function encodeReference(frame: DetectedFrame, picture: PictureReference): EncodedRecord {
  const { key, headers } = encodeDetectedFrame(frame);
  return { key, value: NO_PICTURE, headers: { ...headers, picture: JSON.stringify(picture) } };
}

/**
 * Reads a record of `video-frames`. A record without a key belongs to the stream in its header.
 * @throws InvalidRecordError naming the header that is missing or malformed
 */
export function decodeFrame(record: ReceivedRecord): Frame {
  const facts = frameHeaders(record);
  if (record.value === null || record.value.length === 0) {
    throw new InvalidRecordError('value', 'is empty: no JPEG');
  }
  return { ...facts, jpeg: record.value };
}

/** Reads the headers that records of both topics have. */
function frameHeaders(record: ReceivedRecord): Omit<Frame, 'jpeg'> {
  const streamId = id(record, 'stream_id');
  if (record.key !== null && record.key.toString() !== streamId) {
    throw new InvalidRecordError('key', `${quote(record.key.toString())} is not the stream id '${streamId}'`);
  }
  // A malformed traceparent is ignored: the frame itself is valid.
  const traceparent = String(record.headers?.traceparent);
  return {
    streamId,
    frameNumber: integer(record, 'frame_number', 0, Number.MAX_SAFE_INTEGER),
    session: id(record, 'session'),
    capturedAt: integer(record, 'captured_at', 0, MAX_TIME),
    width: integer(record, 'width', 1, MAX_SIDE),
    height: integer(record, 'height', 1, MAX_SIDE),
    ...(TRACEPARENT.test(traceparent) ? { traceparent } : {}),
  };
}

/**
 * Reads a record of `detections`, with its picture or with the position of its picture.
 * @throws InvalidRecordError naming the header that is missing or malformed
 */
export function decodeSeenFrame(record: ReceivedRecord): SeenFrame {
  const isEmpty = record.value === null || record.value.length === 0;
  const isReference = isEmpty && Object.hasOwn(record.headers ?? {}, 'picture');
  const frame = isReference
    ? { ...frameHeaders(record), picture: pictureHeader(record) }
    : decodeFrame(record);
  return { ...frame, ...detectionHeaders(record) };
}

/** Reads the headers that only records of `detections` have. */
function detectionHeaders(record: ReceivedRecord): Omit<DetectedFrame, keyof Frame> {
  const [events, earlier] = [list(record, 'events'), list(record, 'earlier_events')];
  return {
    detections: detectionsHeader(record),
    model: text(record, 'model'),
    ...(events && { events }),
    ...(earlier && { earlierEvents: earlier.map(Number).filter(Number.isSafeInteger) }),
  };
}

function list(record: ReceivedRecord, name: string): string[] | undefined {
  const value = String(record.headers?.[name] ?? '');
  if (value.length > MAX_DETECTIONS_BYTES)
    throw new InvalidRecordError(name, `has ${value.length} characters, over ${MAX_DETECTIONS_BYTES}`);
  return value === '' ? undefined : value.split(',');
}

function pictureHeader(record: ReceivedRecord): PictureReference {
  const picture = json(record, 'picture', MAX_REFERENCE_BYTES) as Partial<PictureReference> | null;
  const { topic, partition, offset, annotated_key } = picture ?? {};
  const isPlace = typeof topic === 'string' && [partition, offset].every(Number.isSafeInteger);
  if (isPlace && typeof annotated_key === 'string') return picture as PictureReference;
  throw new InvalidRecordError('picture', 'does not have topic, partition, offset and annotated_key');
}

function detectionsHeader(record: ReceivedRecord): Detection[] {
  const list = json(record, 'detections', MAX_DETECTIONS_BYTES);
  if (!Array.isArray(list)) throw new InvalidRecordError('detections', 'is not a JSON array');
  const wrong = list.findIndex((item) => !isDetection(item));
  if (wrong >= 0) throw new InvalidRecordError('detections', `item ${wrong} is not a detection`);
  return list;
}

function json(record: ReceivedRecord, name: string, maxBytes: number): unknown {
  const value = text(record, name, maxBytes);
  let parsed: unknown;
  try {
    // Half of a character, which JSON may escape, would make readers of our own JSON refuse the whole line.
    const mend = (_key: string, part: unknown) => (typeof part === 'string' ? part.toWellFormed() : part);
    parsed = JSON.parse(value, /\\ud/i.test(value) ? mend : undefined);
  } catch (cause) {
    throw new InvalidRecordError(name, 'is not JSON', { cause });
  }
  if (isDeeper(parsed, MAX_DEPTH))
    throw new InvalidRecordError(name, `is nested over ${MAX_DEPTH} levels deep`);
  return parsed;
}

function isDeeper(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return levels === 0 || Object.values(value).some((part) => isDeeper(part, levels - 1));
}

export function isDetection(value: unknown): value is Detection {
  if (typeof value !== 'object' || value === null) return false;
  const { class_id, class_name, confidence, bbox, polygon, keypoints, track_id, zones } =
    value as Partial<Detection>;
  return (
    Number.isInteger(class_id) &&
    typeof class_name === 'string' &&
    typeof confidence === 'number' &&
    confidence >= 0 &&
    confidence <= 1 &&
    Array.isArray(bbox) &&
    bbox.length === 4 &&
    bbox.every((side) => Number.isFinite(side)) &&
    bbox[0] <= bbox[2] &&
    bbox[1] <= bbox[3] &&
    (polygon === undefined || (isPoints(polygon, 2) && polygon.length >= 3)) &&
    (keypoints === undefined || isPoints(keypoints, 3)) &&
    (track_id === undefined || isTrackId(track_id)) &&
    (zones === undefined || (Array.isArray(zones) && zones.every((zone) => typeof zone === 'string')))
  );
}

/** Whether `value` is an array of points, each with two finite numbers or up to `limit`. */
function isPoints(value: unknown, limit: number): value is number[][] {
  return (
    Array.isArray(value) &&
    value.every(
      (point) =>
        Array.isArray(point) && point.length >= 2 && point.length <= limit && point.every(Number.isFinite),
    )
  );
}

function isTrackId(value: unknown): boolean {
  return typeof value === 'string' && value.length > 0 && value.length <= MAX_TRACK_ID_LENGTH;
}

function text(record: ReceivedRecord, name: string, maxBytes = MAX_HEADER_BYTES): string {
  const headers = record.headers ?? {};
  const value = Object.hasOwn(headers, name) ? headers[name] : undefined;
  if (value === undefined) throw new InvalidRecordError(name, 'is missing');
  if (Array.isArray(value)) throw new InvalidRecordError(name, `is there ${value.length} times`);
  const bytes = Buffer.from(value);
  if (bytes.length === 0) throw new InvalidRecordError(name, 'is empty');
  if (bytes.length > maxBytes)
    throw new InvalidRecordError(name, `has ${bytes.length} bytes, over ${maxBytes}`);
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new InvalidRecordError(name, 'is not UTF-8', { cause });
  }
}

// A session id has the form of a stream id, since it becomes part of stored objects, too.
function id(record: ReceivedRecord, name: 'stream_id' | 'session'): string {
  const value = text(record, name);
  if (!isStreamId(value)) throw new InvalidRecordError(name, `is not an id: ${quote(value)}`);
  return value;
}

function integer(record: ReceivedRecord, name: string, min: number, max: number): number {
  const digits = text(record, name);
  const value = Number(digits);
  if (!/^\d+$/.test(digits) || value < min || value > max) {
    throw new InvalidRecordError(name, `is not an integer from ${min} to ${max}: ${quote(digits)}`);
  }
  return value;
}

/** Shows text of unknown origin in an error: short, on one line, control characters escaped. */
function quote(value: string): string {
  return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}...` : value);
}

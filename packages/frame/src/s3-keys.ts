import { createHash } from 'node:crypto';
import type { Frame, Position } from './frame.ts';
import { HOUR_MS, hourFolder } from './hours.ts';
import { positionOf } from './lambda-event.ts';

/**
 * Key of an annotated frame. A frame always has the same key: a second delivery overwrites the object.
 * @example
 * annotatedKey('annotated', { streamId: 'gate', capturedAt: 1795590000900, frameNumber: 9 });
 * // => 'annotated/gate/date=2026-11-25/hour=07/1795590000900-9.jpg'
 */
export function annotatedKey(
  prefix: string,
  frame: Pick<Frame, 'streamId' | 'capturedAt' | 'frameNumber'>,
): string {
  return `${annotatedSince(prefix, frame.streamId, frame.capturedAt)}-${frame.frameNumber}.jpg`;
}

/**
 * Start of a listing (S3's `StartAfter`): annotated frames of a stream that were captured at `time` or later sort after
 * it, earlier ones before it.
 * @param time epoch milliseconds
 */
export function annotatedSince(prefix: string, streamId: string, time: number): string {
  return `${prefix}/${streamId}/${hourFolder(time)}/${time}`;
}

/** Capture time in the key of an annotated frame, epoch milliseconds. */
export function capturedAtOf(key: string): number {
  return Number.parseInt(key.slice(key.lastIndexOf('/') + 1), 10);
}

/**
 * Key of an archive with annotated pictures of one stream, captured from `first` to `last`. `records` are the first and
 * the last of them in Kafka. If a batch is cut differently at a second delivery, its archive has another key. So an
 * archive never replaces one with more pictures. The keys sort by time, like those of single pictures.
 */
export function archiveKey(
  prefix: string,
  first: Pick<Frame, 'streamId' | 'capturedAt'>,
  last: Pick<Frame, 'capturedAt'>,
  records: Position & { last: number },
): string {
  const begin = annotatedSince(prefix, first.streamId, first.capturedAt);
  return `${begin}-${last.capturedAt}-${positionOf(records)}-${records.last}.tar`;
}

/** Key of a video segment. It has the form of an archive's key. */
export function segmentKey(...archive: Parameters<typeof archiveKey>): string {
  return archiveKey(...archive).replace(/tar$/, 'mp4');
}

/**
 * Capture times of the first and last picture in an archive or segment, epoch milliseconds. Undefined for other keys.
 */
export function archiveSpanOf(key: string): { from: number; to: number } | undefined {
  const [, from, to] = /\/(\d+)-(\d+)-[^/]+\.(?:tar|mp4)$/.exec(key) ?? [];
  return to === undefined ? undefined : { from: Number(from), to: Number(to) };
}

/** Key of an event's clip. The same event always has the same key. */
export function clipKey(event: { stream_id: string; at: number; event_id: string }): string {
  return `clips/${event.stream_id}/${hourFolder(event.at)}/${event.event_id}.mp4`;
}

/** Key of an event. An event always has the same key. All events of an hour are in one folder. */
export function eventKey(event: { at: number; event_id: string }): string {
  return `events/${hourFolder(event.at)}/${event.event_id}.json`;
}

/** Folder of one stream's detections of an hour, with the slash at its end. */
export function detectionsFolder({ streamId, capturedAt }: Pick<Frame, 'streamId' | 'capturedAt'>): string {
  return `detections/${streamId}/${hourFolder(capturedAt)}/`;
}

/** Key of the NDJSON with one stream's detections of one batch; `first` is that stream's first record in it. */
export function detectionsKey(frame: Pick<Frame, 'streamId' | 'capturedAt'>, first: Position): string {
  return `${detectionsFolder(frame)}${positionOf(first)}.ndjson`;
}

/** An object that is stored this long after its frame or event, ms, is late: the tables may hold that hour already. */
const LATE_MS = 6 * HOUR_MS;
export const LATE_ROOT = 'late/';

/**
 * Key of the note that makes the compactor read an old hour again. Each version of an object has its own note, so that
 * the note of a newer version is not removed with that of an older one.
 * @param at time of the object's frame or event, epoch ms
 * @returns `undefined` for an object that is not late
 */
export function lateKey(
  { key, body }: { key: string; body: string | Buffer },
  at: number,
): string | undefined {
  if (Date.now() - at < LATE_MS) return undefined;
  return `${LATE_ROOT}${key}/${createHash('sha256').update(body).digest('hex').slice(0, 16)}`;
}

/**
 * Key of a record that a stage could not process.
 * @example
 * failedKey('detect', { topic: 'video-frames', partition: 3, offset: 4711 }); // => 'failed/detect/video-frames-3-4711'
 */
export function failedKey(stage: string, record: Position): string {
  return `failed/${stage}/${positionOf(record)}`;
}

/** The poller of packages/event-source puts records that it can't deliver under this name, whatever their stage. */
export const POLLER = 'event-source';

/**
 * Folder of the whole batches that an event-source mapping gave up on: by Lambda's on-failure destination, and locally.
 */
export const LOST_BATCHES = 'aws/lambda';

/** The object that stops a canary: while it exists, detect does not ask the canary's model. */
export const CANARY_STOPPED_KEY = 'config/canary-stopped.json';

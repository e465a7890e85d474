import type { Frame } from './frame.ts';

/** Hive-style date and hour in UTC, so that Athena prunes by them: `date=2026-11-25/hour=07`. */
export function hourFolder(epochMs: number): string {
  const iso = new Date(epochMs).toISOString();
  const time = iso.indexOf('T');
  return `date=${iso.slice(0, time)}/hour=${iso.slice(time + 1, time + 3)}`;
}

/** Key of an annotated frame. The same frame always has the same key: delivered again, it overwrites itself. */
export function annotatedKey(
  prefix: string,
  frame: Pick<Frame, 'streamId' | 'capturedAt' | 'frameNumber'>,
): string {
  const name = `${frame.capturedAt}-${frame.frameNumber}.jpg`;
  return `${prefix}/${frame.streamId}/${hourFolder(frame.capturedAt)}/${name}`;
}

/**
 * What every annotated frame of a stream that was captured at `time` or later sorts after, and no earlier one: where a
 * listing begins, S3's `StartAfter`.
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
 * Key of an archive with annotated pictures of one stream, from `first` to `last` in time; `record` is the first of their
 * batch. It sorts by time, as the keys of single pictures do.
 */
export function archiveKey(
  prefix: string,
  first: Pick<Frame, 'streamId' | 'capturedAt'>,
  last: Pick<Frame, 'capturedAt'>,
  record: { topic: string; partition: number; offset: number },
): string {
  const folder = `${prefix}/${first.streamId}/${hourFolder(first.capturedAt)}`;
  const batch = `${record.topic}-${record.partition}-${record.offset}`;
  return `${folder}/${first.capturedAt}-${last.capturedAt}-${batch}.tar`;
}

/**
 * Key of a video segment with annotated pictures of one stream, from `first` to `last` in time; `records` are the first and
 * the last of them in Kafka. Batches that are cut otherwise have other keys, so that no segment replaces one that holds more.
 */
export function segmentKey(
  prefix: string,
  first: Pick<Frame, 'streamId' | 'capturedAt'>,
  last: Pick<Frame, 'capturedAt'>,
  records: { topic: string; partition: number; offset: number; last: number },
): string {
  const archive = archiveKey(prefix, first, last, records);
  return archive.replace(/\.tar$/, `-${records.last}.mp4`);
}

/** Capture times of the pictures in an archive or segment, epoch milliseconds, both included; undefined for any other key. */
export function archiveSpanOf(key: string): { from: number; to: number } | undefined {
  const [, from, to] = /\/(\d+)-(\d+)-[^/]+\.(?:tar|mp4)$/.exec(key) ?? [];
  return to === undefined ? undefined : { from: Number(from), to: Number(to) };
}

/** Key of an event's clip. The same event always has the same key. */
export function clipKey(event: { stream_id: string; at: number; event_id: string }): string {
  return `clips/${event.stream_id}/${hourFolder(event.at)}/${event.event_id}.mp4`;
}

/** Key of an event. The same event always has the same key; all of an hour lie in one folder. */
export function eventKey(event: { at: number; event_id: string }): string {
  return `events/${hourFolder(event.at)}/${event.event_id}.json`;
}

/** Key of the NDJSON with one stream's detections of one batch; `first` is that stream's first record in it. */
export function detectionsKey(
  frame: Pick<Frame, 'streamId' | 'capturedAt'>,
  first: { topic: string; partition: number; offset: number },
): string {
  const name = `${first.topic}-${first.partition}-${first.offset}.ndjson`;
  return `detections/${frame.streamId}/${hourFolder(frame.capturedAt)}/${name}`;
}

/** Key of a record that a stage could not process. */
export function failedKey(
  stage: string,
  record: { topic: string; partition: number; offset: number },
): string {
  return `failed/${stage}/${record.topic}-${record.partition}-${record.offset}`;
}

/** An object of the bucket: where it is there, a canary of the model is asked no more. */
export const CANARY_STOPPED_KEY = 'config/canary-stopped.json';

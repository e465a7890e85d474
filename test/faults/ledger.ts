import { type EncodedRecord, encodeDetectedFrame, encodeFrame, type Frame } from '@video-pipeline/frame';
import { CROWD_MARK } from './answers.ts';
import { drawName, type Name, SIZE } from './numbered.ts';
import { DETECTIONS_TOPIC, FRAMES_TOPIC } from './rig.ts';

/** A record that Kafka has acknowledged, with its expected result. */
export interface Entry {
  name: Name;
  topic: string;
  kind: FrameKind;
  fate: 'annotated' | 'failed';
}

/** Header with the ledger entry of a record, which may be broken otherwise. */
export const LEDGER_HEADER = 'ledger';
const FIRST_TIME = Date.UTC(2026, 10, 25, 7);
const SOI_TO_SOF = Buffer.from([0xff, 0xc0]);

export const idOf = ({ stream, number }: Name) => `${stream}/${number}`;
export const streamIdOf = (stream: number) => `stream-${stream}`;

/** Parts of a frame's key in S3. */
export const placeOf = ({ stream, number }: Name) => ({
  streamId: streamIdOf(stream),
  frameNumber: number,
  capturedAt: FIRST_TIME + number * 100,
});

function frameOf(name: Name, jpeg: Buffer): Frame {
  return { ...placeOf(name), session: 'campaign', ...SIZE, jpeg };
}

/** The kind of frame that is published on the topic of detections. */
export const ON_DETECTIONS = 'a crowd on the topic of detections';

/** Frames that can not be processed, and two that can but are very large. Each is made from a valid one. */
const kinds = {
  good: (frame: Frame) => encodeFrame(frame),
  // 25 of them are too large for one invocation.
  heavy: (frame: Frame) => encodeFrame({ ...frame, jpeg: padded(frame.jpeg, 240_000) }),
  'truncated JPEG': (frame: Frame) =>
    encodeFrame({ ...frame, jpeg: frame.jpeg.subarray(0, frame.jpeg.length / 2) }),
  'no JPEG': (frame: Frame) => encodeFrame({ ...frame, jpeg: Buffer.from('GIF89a, or so it says') }),
  '0 bytes': (frame: Frame) => encodeFrame({ ...frame, jpeg: Buffer.alloc(0) }),
  '160 KB of zeros': (frame: Frame) => encodeFrame({ ...frame, jpeg: Buffer.alloc(160_000) }),
  '30,000 x 30,000 pixels': (frame: Frame) =>
    encodeFrame({ ...frame, width: 30_000, height: 30_000, jpeg: resized(frame.jpeg, 30_000) }),
  'another size than it says': (frame: Frame) => encodeFrame({ ...frame, width: SIZE.width * 2 }),
  'a header missing': (frame: Frame) => withHeaders(frame, { session: undefined }),
  'a header malformed': (frame: Frame) => withHeaders(frame, { frame_number: '-1e9' }),
  'an id that leaves its folder': (frame: Frame) => withHeaders(frame, { stream_id: '../../etc' }),
  "another stream's key": (frame: Frame) => ({ ...encodeFrame(frame), key: 'nobody' }),
  'another version of the topic': ({ streamId }: Frame) => ({
    key: streamId,
    value: Buffer.from('{"version":2,"stream":{"id":"x"},"jpeg":"/9j/"}'),
    headers: { version: '2' },
  }),
  // The model detects 10,000 objects in it, see addCrowds.
  'a crowd of 10,000': (frame: Frame) =>
    encodeFrame({ ...frame, jpeg: Buffer.concat([frame.jpeg, CROWD_MARK]) }),
  [ON_DETECTIONS]: (frame: Frame) => encodeDetectedFrame({ ...frame, model: 'm', detections: crowd() }),
} satisfies Record<string, (frame: Frame) => EncodedRecord>;

export type FrameKind = keyof typeof kinds;
const ANNOTATED: readonly FrameKind[] = ['good', 'heavy'];
export const POISON = (Object.keys(kinds) as FrameKind[]).filter((kind) => !ANNOTATED.includes(kind));

/** @returns the record, and its entry for the ledger after the acknowledgement */
export async function recordOf(
  name: Name,
  kind: FrameKind,
): Promise<{ entry: Entry; record: EncodedRecord }> {
  const record: EncodedRecord = kinds[kind](frameOf(name, await drawName(name)));
  record.headers[LEDGER_HEADER] = idOf(name);
  const topic = kind === ON_DETECTIONS ? DETECTIONS_TOPIC : FRAMES_TOPIC;
  return { record, entry: { name, topic, kind, fate: ANNOTATED.includes(kind) ? 'annotated' : 'failed' } };
}

function withHeaders(frame: Frame, changes: Record<string, string | undefined>): EncodedRecord {
  const record = encodeFrame(frame);
  const headers = Object.entries({ ...record.headers, ...changes }).filter(
    ([, value]) => value !== undefined,
  );
  return { ...record, headers: Object.fromEntries(headers) as Record<string, string> };
}

function padded(jpeg: Buffer, length: number): Buffer {
  return Buffer.concat([jpeg, Buffer.alloc(length - jpeg.length)]);
}

/** Writes another size into the frame header (ITU-T T.81, B.2.2). */
function resized(jpeg: Buffer, side: number): Buffer {
  const changed = Buffer.from(jpeg);
  const at = changed.indexOf(SOI_TO_SOF) + 5;
  changed.writeUInt16BE(side, at);
  changed.writeUInt16BE(side, at + 2);
  return changed;
}

function crowd() {
  const one = { class_id: 0, class_name: 'cell', confidence: 0.9 };
  return Array.from({ length: 10_000 }, () => ({
    ...one,
    bbox: [1, 1, 20, 20] as [number, number, number, number],
  }));
}

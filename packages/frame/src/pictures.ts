import type { DetectedFrame, Frame, Position, SeenFrame } from './frame.ts';
import { decodeFrame, InvalidRecordError, type ReceivedRecord } from './kafka-record.ts';
import { positionOf } from './lambda-event.ts';

/** Reads Kafka records by their positions. A record that Kafka has deleted is left out. */
export type ReadAt = (positions: readonly Position[]) => Promise<readonly (Position & ReceivedRecord)[]>;

/**
 * Frames of `detections` with their pictures, in their order. If Kafka has deleted a picture, its frame is left out:
 * the object `annotated_key` holds that picture with its boxes.
 */
export async function withPictures(frames: readonly SeenFrame[], read: ReadAt): Promise<DetectedFrame[]> {
  const positions = frames.flatMap((one) => ('picture' in one ? [one.picture] : []));
  const records = positions.length > 0 ? await read(positions) : [];
  const found = new Map(records.map((record) => [positionOf(record), record]));
  return frames.flatMap((one) => {
    if (!('picture' in one)) return [one];
    const { picture, ...frame } = one;
    const record = found.get(positionOf(picture));
    const sent = record && frameIn(record);
    // A topic that was created again has other frames at the same positions, and a producer may name any position.
    const isSame = sent?.streamId === frame.streamId && sent.frameNumber === frame.frameNumber;
    return isSame && sent.session === frame.session ? [{ ...frame, jpeg: sent.jpeg }] : [];
  });
}

function frameIn(record: ReceivedRecord): Frame | undefined {
  try {
    return decodeFrame(record);
  } catch (error) {
    if (!(error instanceof InvalidRecordError)) throw error;
    return undefined;
  }
}

import type { DetectedFrame, Frame, Place, SeenFrame } from './frame.ts';
import { decodeFrame, InvalidRecordError, type ReceivedRecord } from './kafka-record.ts';
import { positionOf } from './lambda-event.ts';

/** Reads Kafka records by their places. A record that is not there any more is left out. */
export type ReadPlaces = (places: readonly Place[]) => Promise<readonly (Place & ReceivedRecord)[]>;

/**
 * Frames of `detections` with their pictures, in their order. If Kafka has deleted a picture, its frame is left out:
 * the object `annotated_key` holds that picture with its boxes.
 */
export async function withPictures(frames: readonly SeenFrame[], read: ReadPlaces): Promise<DetectedFrame[]> {
  const places = frames.flatMap((one) => ('picture' in one ? [one.picture] : []));
  const records = places.length > 0 ? await read(places) : [];
  const found = new Map(records.map((record) => [positionOf(record), record]));
  return frames.flatMap((one) => {
    if (!('picture' in one)) return [one];
    const { picture, ...frame } = one;
    const record = found.get(positionOf(picture));
    const of = record && frameIn(record);
    // A topic that was created again has other frames at the same places, and a producer may name any place.
    const isSame = of?.streamId === frame.streamId && of.frameNumber === frame.frameNumber;
    return isSame && of.session === frame.session ? [{ ...frame, jpeg: of.jpeg }] : [];
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

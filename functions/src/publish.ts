import {
  addCheckpoint,
  type Checkpoint,
  type DetectedFrame,
  encodeDetectedFrame,
  encodeReference,
  type PictureReference,
} from '@video-pipeline/frame';
import { type Message, type Producer, TooLargeError } from '@video-pipeline/kafka';
import type { Failure, Received } from './records.ts';

export interface PublishedFrame extends DetectedFrame {
  checkpoint?: Checkpoint;
  /** Where the picture is. The record then does not carry it. */
  picture?: PictureReference;
}

/**
 * Publishes frames, in order; resolves once every in-sync replica has them.
 * @returns those that are larger than the topic allows; all others are published
 */
export type Publish = (frames: readonly Received<PublishedFrame>[]) => Promise<Failure[]>;

export function createPublish(producer: Pick<Producer, 'send'>, topic: string): Publish {
  return async (frames) => {
    const messages: Message[] = frames.map(({ frame }) => encode(frame));
    try {
      await producer.send({ topic, messages });
      return [];
    } catch (error) {
      if (!(error instanceof TooLargeError)) throw error;
      return frames
        .filter((_, index) => error.records.includes(messages[index] as Message))
        .map(({ record }) => ({ record, code: 'FRAME_TOO_LARGE', reason: error.message }));
    }
  };
}

function encode(frame: PublishedFrame) {
  const { picture } = frame;
  const record = picture ? encodeReference(frame, picture) : encodeDetectedFrame(frame);
  if (frame.checkpoint) addCheckpoint(record, frame.checkpoint);
  return record;
}

import {
  addCheckpoint,
  type Checkpoint,
  type DetectedFrame,
  encodeDetectedFrame,
  encodeReference,
  type PictureReference,
} from '@video-pipeline/frame';
import { type Message, type Producer, TooLargeError } from '@video-pipeline/kafka';

export interface PublishedFrame extends DetectedFrame {
  checkpoint?: Checkpoint;
  /** Where the picture is. The record then does not carry it. */
  picture?: PictureReference;
}

/** The records of some frames are larger than the topic allows. All other frames are published. */
export class FramesTooLargeError extends Error {
  override readonly name = 'FramesTooLargeError';
  readonly frames: readonly PublishedFrame[];

  constructor(frames: readonly PublishedFrame[], cause: TooLargeError) {
    super(cause.message, { cause });
    this.frames = frames;
  }
}

/** Publishes frames, in order; resolves once every in-sync replica has them. @throws FramesTooLargeError */
export type Publish = (frames: readonly PublishedFrame[]) => Promise<void>;

export function createPublish(producer: Pick<Producer, 'send'>, topic: string): Publish {
  return async (frames) => {
    const messages: Message[] = frames.map(encode);
    try {
      await producer.send({ topic, messages });
    } catch (error) {
      if (!(error instanceof TooLargeError)) throw error;
      const tooLarge = frames.filter((_, index) => error.records.includes(messages[index] as Message));
      throw new FramesTooLargeError(tooLarge, error);
    }
  };
}

function encode(frame: PublishedFrame) {
  const { picture } = frame;
  const record = picture ? encodeReference(frame, picture) : encodeDetectedFrame(frame);
  if (frame.checkpoint) addCheckpoint(record, frame.checkpoint);
  return record;
}

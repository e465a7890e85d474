import {
  addCheckpoint,
  type Checkpoint,
  type DetectedFrame,
  encodeDetectedFrame,
  encodeReference,
  type PictureReference,
} from '@video-pipeline/frame';
import { type Message, type Producer, TooLargeError } from '@video-pipeline/kafka';

/**
 * Sends records to a topic, in order; resolves once every in-sync replica has them.
 * @throws TooLargeError for records over the topic's limit, after all others are sent
 */
export type Send = (topic: string, messages: Message[]) => Promise<void>;

/**
 * Most bytes of one send; a single message may be larger. A topic's limit is 6 MB for a record batch, and all messages
 * of a send may be for one partition.
 */
const MAX_SEND_BYTES = 4 * 1024 * 1024;

/** Sends by a producer. It connects at the first send, and again after a connection that failed. */
export function createSend(producer: Pick<Producer, 'connect' | 'send'>): Send {
  let connected: Promise<void> | undefined;
  return async (topic, messages) => {
    if (messages.length === 0) return;
    connected ??= producer.connect();
    try {
      await connected;
    } catch (error) {
      connected = undefined;
      throw error;
    }
    const tooLarge: Message[] = [];
    for (const some of inSends(messages)) {
      try {
        await producer.send({ topic, acks: -1, messages: some });
      } catch (error) {
        if (!(error instanceof TooLargeError)) throw error;
        tooLarge.push(...error.records);
      }
    }
    if (tooLarge.length > 0) throw new TooLargeError(topic, tooLarge);
  };
}

/** Cuts a list where a send would grow over {@link MAX_SEND_BYTES}; keeps its order. */
function inSends<Message extends Parameters<Send>[1][number]>(messages: readonly Message[]): Message[][] {
  const sends: Message[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const message of messages) {
    const size = sizeOf(message);
    if (bytes + size > MAX_SEND_BYTES) {
      sends.push([]);
      bytes = 0;
    }
    sends.at(-1)?.push(message);
    bytes += size;
  }
  return sends;
}

function sizeOf({ value, headers = {} }: Parameters<Send>[1][number]): number {
  const texts = Object.values(headers).flat();
  return texts.reduce((sum, text = '') => sum + Buffer.byteLength(text), Buffer.byteLength(value ?? ''));
}

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

export function createPublish(send: Send, topic: string): Publish {
  return async (frames) => {
    const records = frames.map(encode);
    try {
      await send(topic, records);
    } catch (error) {
      if (!(error instanceof TooLargeError)) throw error;
      const tooLarge = frames.filter((_, index) => error.records.includes(records[index] as Message));
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

import {
  addCheckpoint,
  type Checkpoint,
  type DetectedFrame,
  encodeDetectedFrame,
} from '@video-pipeline/frame';
import type { Producer } from '@video-pipeline/kafka';

/** Sends records to a topic, in order; resolves once every in-sync replica has them. */
export type Send = (topic: string, messages: Parameters<Producer['send']>[0]['messages']) => Promise<void>;

/** Sends by a producer; connects at first use, and again where that failed. */
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
    await producer.send({ topic, acks: -1, messages });
  };
}

/** A frame for `detections`. */
export interface PublishedFrame extends DetectedFrame {
  /** What is known of its stream after it. */
  checkpoint?: Checkpoint;
}

/** Publishes frames, in order; resolves once every in-sync replica has them. */
export type Publish = (frames: readonly PublishedFrame[]) => Promise<void>;

/** Publishes to a topic. */
export function createPublish(send: Send, topic: string): Publish {
  return (frames) => send(topic, frames.map(encode));
}

function encode(frame: PublishedFrame) {
  const record = encodeDetectedFrame(frame);
  if (frame.checkpoint) addCheckpoint(record, frame.checkpoint);
  return record;
}

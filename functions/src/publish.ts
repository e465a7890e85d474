import { type DetectedFrame, encodeDetectedFrame } from '@video-pipeline/frame';
import type { Producer } from '@video-pipeline/kafka';

/** Publishes frames, in order; resolves once every in-sync replica has them. */
export type Publish = (frames: readonly DetectedFrame[]) => Promise<void>;

/** Publishes to a topic; connects at first use, and again where that failed. */
export function createPublish(producer: Pick<Producer, 'connect' | 'send'>, topic: string): Publish {
  let connected: Promise<void> | undefined;
  return async (frames) => {
    if (frames.length === 0) return;
    connected ??= producer.connect();
    try {
      await connected;
    } catch (error) {
      connected = undefined;
      throw error;
    }
    await producer.send({ topic, acks: -1, messages: frames.map(encodeDetectedFrame) });
  };
}

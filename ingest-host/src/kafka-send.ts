import { type Producer, TooLargeError } from '@video-pipeline/kafka';
import type { Send } from './publisher.ts';

/** Kafka did not accept a batch. A retry may succeed. */
export class PublishError extends Error {
  override readonly name = 'PublishError';
}

/**
 * Sends records to `topic`; connects with the first send.
 * @returns `send`, which throws TooLargeError, else PublishError; `laneOf`, the partition of a stream
 */
export function kafkaSend(
  producer: Pick<Producer, 'send' | 'partitionOf'>,
  topic: string,
): { send: Send; laneOf: (streamId: string) => number } {
  const send: Send = async (messages) => {
    try {
      await producer.send({ topic, messages });
    } catch (cause) {
      if (cause instanceof TooLargeError) throw cause;
      const reason = cause instanceof Error ? cause.message : String(cause);
      const missing = /does not host this topic-partition|UNKNOWN_TOPIC/i.test(reason);
      throw new PublishError(missing ? `topic '${topic}' does not exist` : `topic '${topic}': ${reason}`, {
        cause,
      });
    }
  };
  return { send, laneOf: (streamId) => producer.partitionOf(topic, streamId) ?? 0 };
}

import type { Producer } from 'kafkajs';
import type { Send } from './publisher.ts';

/** Kafka did not take a batch. Trying again may help. */
export class PublishError extends Error {
  override readonly name = 'PublishError';
}

/**
 * Sends records to `topic` with acks=all; connects with the first send.
 * @throws PublishError naming the topic
 */
export function kafkaSend(producer: Pick<Producer, 'connect' | 'send'>, topic: string): Send {
  let connected: Promise<void> | undefined;
  return async (messages) => {
    try {
      connected ??= producer.connect();
      await connected;
      await producer.send({ topic, acks: -1, messages });
    } catch (cause) {
      connected = undefined;
      const reason = cause instanceof Error ? cause.message : String(cause);
      const missing = /does not host this topic-partition|UNKNOWN_TOPIC/i.test(reason);
      throw new PublishError(missing ? `topic '${topic}' does not exist` : `topic '${topic}': ${reason}`, {
        cause,
      });
    }
  };
}

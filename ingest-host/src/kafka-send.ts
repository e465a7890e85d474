import type { Producer } from '@video-pipeline/kafka';
import type { Send } from './publisher.ts';

/** Kafka did not take a batch. Trying again may help. */
export class PublishError extends Error {
  override readonly name = 'PublishError';
}

/** Kafka's errors that a producer gets for ever once it has got one: the broker has lost, or ended, its sequence. */
const SEQUENCE_LOST = /OUT_OF_ORDER_SEQUENCE_NUMBER|UNKNOWN_PRODUCER_ID|INVALID_PRODUCER_EPOCH/;

/**
 * Sends records to `topic`; connects with the first send, and as a new producer when its sequence is lost.
 * @returns `send`, which throws PublishError naming the topic, and `close`
 */
export function kafkaSend(
  createProducer: () => Pick<Producer, 'connect' | 'send' | 'disconnect'>,
  topic: string,
): { send: Send; close: () => Promise<void> } {
  let producer = createProducer();
  let connected: Promise<void> | undefined;
  const send: Send = async (messages) => {
    try {
      connected ??= producer.connect();
      await connected;
      await producer.send({ topic, messages });
    } catch (cause) {
      connected = undefined;
      if (SEQUENCE_LOST.test((cause as { type?: string }).type ?? '')) {
        void producer.disconnect().catch(() => {});
        producer = createProducer();
      }
      const reason = cause instanceof Error ? cause.message : String(cause);
      const missing = /does not host this topic-partition|UNKNOWN_TOPIC/i.test(reason);
      throw new PublishError(missing ? `topic '${topic}' does not exist` : `topic '${topic}': ${reason}`, {
        cause,
      });
    }
  };
  return { send, close: () => producer.disconnect() };
}

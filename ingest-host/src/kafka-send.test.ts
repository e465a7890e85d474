import { expect, test } from 'vitest';
import { kafkaSend, PublishError } from './kafka-send.ts';

const records = [{ key: 'yard', value: Buffer.from('a'), headers: {} }];

/** Producers that fail with `errors`, one each send, and the number of the producer that took each send. */
function producers(errors: (Error | undefined)[]) {
  const sends: number[] = [];
  let created = 0;
  const create = () => {
    const number = created++;
    return {
      connect: async () => {},
      disconnect: async () => {},
      send: async () => {
        sends.push(number);
        const error = errors.shift();
        if (error) throw error;
        return [];
      },
    };
  };
  return { create, sends };
}

test('a failure names the topic, and the same producer tries again, so that the broker knows what it has', async () => {
  const { create, sends } = producers([new Error('The request timed out')]);
  const { send } = kafkaSend(create, 'video-frames');
  await expect(send(records)).rejects.toThrow(
    new PublishError("topic 'video-frames': The request timed out"),
  );
  await send(records);
  expect(sends).toEqual([0, 0]);
});

test.each(['OUT_OF_ORDER_SEQUENCE_NUMBER', 'UNKNOWN_PRODUCER_ID', 'INVALID_PRODUCER_EPOCH'])(
  'after %s a new producer takes over',
  async (type) => {
    const { create, sends } = producers([Object.assign(new Error('refused'), { type })]);
    const { send } = kafkaSend(create, 'video-frames');
    await expect(send(records)).rejects.toThrow(PublishError);
    await send(records);
    expect(sends).toEqual([0, 1]);
  },
);

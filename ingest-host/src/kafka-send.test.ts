import { TooLargeError } from '@video-pipeline/kafka';
import { expect, test } from 'vitest';
import { kafkaSend, PublishError } from './kafka-send.ts';

const records = [{ key: 'yard', value: Buffer.from('a'), headers: {} }];

function sendThatFails(error: Error) {
  const send = async () => {
    throw error;
  };
  return kafkaSend({ send, partitionOf: (_, key) => (key === 'yard' ? 3 : undefined) }, 'video-frames');
}

test('the error of a failed send names the topic', async () => {
  const { send } = sendThatFails(new Error('The request timed out'));
  await expect(send(records)).rejects.toThrow(
    new PublishError("topic 'video-frames': The request timed out"),
  );
});

test('a frame that is too large is an error that is not retried', async () => {
  const error = new TooLargeError('video-frames', records);
  await expect(sendThatFails(error).send(records)).rejects.toBe(error);
});

test('frames of a stream wait in the lane of its partition, or of partition 0 until it is known', () => {
  const { laneOf } = sendThatFails(new Error());
  expect(['yard', 'door'].map(laneOf)).toEqual([3, 0]);
});

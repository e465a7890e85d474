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

test('a failure names the topic', async () => {
  const { send } = sendThatFails(new Error('The request timed out'));
  await expect(send(records)).rejects.toThrow(
    new PublishError("topic 'video-frames': The request timed out"),
  );
});

test('what is too large is told as it is: another try does not help', async () => {
  const error = new TooLargeError('video-frames', records);
  await expect(sendThatFails(error).send(records)).rejects.toBe(error);
});

test('the lane of a stream is its partition, and the first before that is known', () => {
  const { laneOf } = sendThatFails(new Error());
  expect(['yard', 'door'].map(laneOf)).toEqual([3, 0]);
});

import { KafkaJSConnectionError } from 'kafkajs';
import ConsumerGroup from 'kafkajs/src/consumer/consumerGroup.js';
import { isRebalancing } from 'kafkajs/src/errors.js';
import { expect, test } from 'vitest';
import './connect.ts';

test.each([
  [
    "that can't be reached is looked up, and the group joined again",
    new KafkaJSConnectionError('refused'),
    true,
  ],
  ['that refuses is not', new Error('refused'), false],
])('a coordinator %s', async (_, error, joinsAgain) => {
  const group = new ConsumerGroup({
    logger: { namespace: () => ({}) },
    retry: {},
    cluster: {},
    groupId: 'g',
    instrumentationEmitter: { emit() {} },
    topics: [],
  });
  const coordinator = { heartbeat: () => Promise.reject(error) };
  Object.assign(group, { memberId: 'm', lastRequest: 0, coordinator });
  expect(isRebalancing(await group.heartbeat({ interval: 0 }).catch((thrown) => thrown))).toBe(joinsAgain);
});

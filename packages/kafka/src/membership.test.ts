import { KafkaJSConnectionError } from 'kafkajs';
import { isRebalancing } from 'kafkajs/src/errors.js';
import { expect, test } from 'vitest';
import './connect.ts';
import { fakeMember } from './fake-cluster.ts';

test.each([
  [
    "that can't be reached is looked up, and the group joined again",
    new KafkaJSConnectionError('refused'),
    true,
  ],
  ['that refuses is not', new Error('refused'), false],
])('a coordinator %s', async (_, error, again) => {
  expect(await joinsAgain('m', () => Promise.reject(error))).toBe(again);
});

test('a member that the broker has forgotten joins the group again, instead of reading on', async () => {
  expect(await joinsAgain(null, async () => {})).toBe(true);
});

/** Whether a heartbeat of a member of this id makes kafkajs join the group again. */
async function joinsAgain(memberId: string | null, heartbeat: () => Promise<void>): Promise<boolean> {
  const group = fakeMember({ memberId, lastRequest: 0, coordinator: { heartbeat } });
  const failure = await group.heartbeat({ interval: 0 }).then(
    () => undefined,
    (error) => error,
  );
  return failure !== undefined && isRebalancing(failure);
}

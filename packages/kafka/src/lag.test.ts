import type { Admin } from 'kafkajs';
import { expect, test } from 'vitest';
import { askGroup, consumerLag } from './lag.ts';

/** Offsets as kafkajs's admin states them: text, and -1 for a group that never committed. */
function adminWith(ends: [high: string, low: string][], committed: string[]): Admin {
  return {
    fetchTopicOffsets: async () =>
      ends.map(([high, low], partition) => ({ partition, offset: high, high, low })),
    fetchOffsets: async () => [
      {
        topic: 't',
        partitions: committed.map((offset, partition) => ({ partition, offset, metadata: null })),
      },
    ],
  } as unknown as Admin;
}

test('the lag is the end offset minus the committed offset', async () => {
  const admin = adminWith([['100', '0']], ['60']);
  expect(await consumerLag(admin, 'g', 't')).toEqual([{ partition: 0, committed: 60, end: 100, lag: 40 }]);
});

test('a group without commits, or with expired ones, lags from the oldest record on', async () => {
  const admin = adminWith(
    [
      ['100', '10'],
      ['100', '90'],
    ],
    ['-1', '20'],
  );
  expect((await consumerLag(admin, 'g', 't')).map((one) => one.lag)).toEqual([90, 10]);
});

test.each([
  ['has a member', 'Stable', [{}], undefined],
  ['never had a member', 'Dead', [], 'nobody has read as g yet'],
  ['is of the new protocol', 'Dead', [], /^g is a group of KIP-848/],
])(
  'askGroup gives the reason why no member reads, when the group %s',
  async (what, state, members, answer) => {
    const admin = {
      describeGroups: async () => ({ groups: [{ state, members }] }),
      listGroups: async () => ({
        groups: what.includes('protocol') ? [{ groupId: 'g' }] : [{ groupId: 'h' }],
      }),
    } as unknown as Admin;
    const told = await askGroup('g', (question) => question(admin));
    if (answer === undefined) expect(told).toBeUndefined();
    else expect(told).toMatch(answer);
  },
);

import { expect, test } from 'vitest';
import { frameLimit } from './frame-limit.ts';

test('exactly MAX_FRAMES frames are published, and a dropped one is replaced', async () => {
  const limit = frameLimit(3);
  expect([limit.take(), limit.take(), limit.take(), limit.take()]).toEqual([true, true, true, false]);
  limit.dropped(1);
  expect([limit.take(), limit.take()]).toEqual([true, false]);
  limit.published(2);
  const soon = Promise.race([limit.reached.then(() => 'reached'), Promise.resolve('not yet')]);
  expect(await soon).toBe('not yet');
  limit.published(1);
  await limit.reached;
});

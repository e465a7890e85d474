import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { semaphoreOf } from './semaphore.ts';

test('work runs up to the weight limit, in order, and work above the limit runs alone', async () => {
  const semaphore = semaphoreOf(10);
  let [inWork, most] = [0, 0];
  const ended: number[] = [];
  const work = (weight: number, index: number) =>
    semaphore(weight, async () => {
      inWork += weight;
      most = Math.max(most, weight > 10 ? inWork - weight : inWork);
      await sleep(5);
      inWork -= weight;
      ended.push(index);
      if (index === 2) throw new Error('broken');
    });
  const all = await Promise.allSettled([4, 4, 4, 30, 1, 9].map(work));
  expect(all.map(({ status }) => status)).toEqual([
    'fulfilled',
    'fulfilled',
    'rejected',
    'fulfilled',
    'fulfilled',
    'fulfilled',
  ]);
  expect(most).toBeLessThanOrEqual(10);
  expect(ended).toEqual([0, 1, 2, 3, 4, 5]);
});

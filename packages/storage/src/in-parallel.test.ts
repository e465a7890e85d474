import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { inParallel, inTurn } from './in-parallel.ts';

test('results keep the order of the items, and at most the limit runs at the same time', async () => {
  let inWork = 0;
  let most = 0;
  const results = await inParallel([5, 1, 3, 2, 4], 2, async (item) => {
    most = Math.max(most, ++inWork);
    await sleep(item * 3);
    inWork--;
    return item * 10;
  });
  expect(results).toEqual([50, 10, 30, 20, 40]);
  expect(most).toBe(2);
});

test('after an error nothing more is started, and the error is thrown when all started work has ended', async () => {
  const begun: number[] = [];
  const ended: number[] = [];
  const failed = inParallel([1, 2, 3, 4], 2, async (item) => {
    begun.push(item);
    if (item === 1) throw new Error('first');
    await sleep(10);
    ended.push(item);
  });
  await expect(failed).rejects.toThrow('first');
  expect(begun).toEqual([1, 2]);
  expect(ended).toEqual([2]);
});

test('the lightest items are started first, and results keep the order', async () => {
  const begun: number[] = [];
  const work = async (item: number) => begun.push(item);
  await inParallel([9, 1, 5, 1], 1, work, (item) => item);
  expect(begun).toEqual([1, 1, 5, 9]);
  expect(await inParallel([3, 1, 2], 2, async (item) => item * 10, Number)).toEqual([30, 10, 20]);
});

test('without items the result is empty', async () => {
  expect(await inParallel([], 4, async () => 1)).toEqual([]);
});

test('inTurn starts work when the previous work has ended, also after an error', async () => {
  const order: string[] = [];
  const next = inTurn();
  const work = (name: string, ms: number) => async () => {
    order.push(`${name} begins`);
    await sleep(ms);
    order.push(`${name} ends`);
    if (name === 'b') throw new Error('b fails');
    return name;
  };
  const all = [next(work('a', 9)), next(work('b', 3)), next(work('c', 0))];
  expect(await Promise.allSettled(all)).toMatchObject([
    { value: 'a' },
    { reason: { message: 'b fails' } },
    { value: 'c' },
  ]);
  expect(order).toEqual(['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends']);
});

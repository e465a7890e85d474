import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test, vi } from 'vitest';
import { Batcher } from './batcher.ts';

/** A batcher of numbers whose batches last until `finish` is called; a number's result is its double. */
function start(options: { sizes: number[]; maxDelayMs: number; concurrency?: number }) {
  const batches: { items: number[]; finish(error?: Error): void }[] = [];
  const batcher = new Batcher<number, number>({
    concurrency: 1,
    ...options,
    keyOf: (item) => (item < 0 ? 'negative' : 'positive'),
    run: (items) =>
      new Promise((resolve, reject) => {
        batches.push({
          items,
          finish: (error) => (error ? reject(error) : resolve(items.map((item) => item * 2))),
        });
      }),
  });
  return { batcher, batches };
}

test('items added while a batch runs make the next batch, and each item gets its own result', async () => {
  const { batcher, batches } = start({ sizes: [3], maxDelayMs: 0 });
  const results = Promise.all([1, 2, 3, 4, 5].map((item) => batcher.add(item)));
  expect(batches.map(({ items }) => items)).toEqual([[1]]);
  batches[0]?.finish();
  await sleep(0);
  expect(batches[1]?.items).toEqual([2, 3, 4]);
  batches[1]?.finish();
  await sleep(0);
  batches[2]?.finish();
  expect(await results).toEqual([2, 4, 6, 8, 10]);
});

test('a batch waits for more items, but not longer than its delay', () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const { batcher, batches } = start({ sizes: [3], maxDelayMs: 30 });
  void batcher.add(1);
  vi.advanceTimersByTime(5);
  void batcher.add(2);
  vi.advanceTimersByTime(24);
  expect(batches).toEqual([]);
  vi.advanceTimersByTime(1);
  expect(batches.map(({ items }) => items)).toEqual([[1, 2]]);
});

test('a full batch starts without a delay', () => {
  const { batcher, batches } = start({ sizes: [2], maxDelayMs: 10_000 });
  void batcher.add(1);
  void batcher.add(2);
  expect(batches.map(({ items }) => items)).toEqual([[1, 2]]);
});

test('the largest preferred size that waiting items fill starts at once, and the rest waits for the delay', async () => {
  const { batcher, batches } = start({ sizes: [2, 4], maxDelayMs: 10_000 });
  const add = (count: number) => Array.from({ length: count }, (_, item) => batcher.add(item));
  const sizesNow = () => batches.map(({ items }) => items.length);
  add(1);
  expect(sizesNow()).toEqual([]);
  add(1);
  expect(sizesNow()).toEqual([2]);
  // While it runs, nine come: two of the largest size, and one that is alone.
  add(9);
  for (const batch of [0, 1, 2]) {
    batches[batch]?.finish();
    await sleep(0);
  }
  expect(sizesNow()).toEqual([2, 4, 4]);
  // With two more they are three: a preferred size, and one that waits.
  add(2);
  expect(sizesNow()).toEqual([2, 4, 4, 2]);
});

test('fewer pictures than the smallest preferred size run as they are once the delay is over', async () => {
  const { batcher, batches } = start({ sizes: [8, 25], maxDelayMs: 20 });
  for (let item = 0; item < 5; item++) void batcher.add(item);
  await sleep(60);
  expect(batches.map(({ items }) => items.length)).toEqual([5]);
});

test('items with different keys are in different batches, and neither key starves the other', async () => {
  const { batcher, batches } = start({ sizes: [2], maxDelayMs: 0 });
  for (const item of [1, 2, 3, -1, 4, 5]) void batcher.add(item);
  for (let index = 0; index < 4; index++) {
    batches[index]?.finish();
    await sleep(0);
  }
  expect(batches.map(({ items }) => items)).toEqual([[1], [2, 3], [-1], [4, 5]]);
});

test('a failed batch fails only its own items', async () => {
  const { batcher, batches } = start({ sizes: [1], maxDelayMs: 0, concurrency: 2 });
  const [first, second] = [batcher.add(1), batcher.add(2)];
  const failure = expect(first).rejects.toThrow('broken');
  batches[0]?.finish(new Error('broken'));
  batches[1]?.finish();
  await failure;
  expect(await second).toBe(4);
});

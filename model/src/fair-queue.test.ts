import { expect, test } from 'vitest';
import { FairQueue } from './fair-queue.ts';

test('clients are served in turn, each in its own order', () => {
  const queue = new FairQueue<string>();
  for (const item of ['a1', 'a2', 'a3', 'b1', 'c1', 'b2']) queue.push(item[0] ?? '', item);
  expect(queue.size).toBe(6);
  expect(Array.from({ length: 7 }, () => queue.shift())).toEqual([
    'a1',
    'b1',
    'c1',
    'a2',
    'b2',
    'a3',
    undefined,
  ]);
  expect(queue.size).toBe(0);
});

test('a client that comes late waits for one round, and not for all earlier items', () => {
  const queue = new FairQueue<string>();
  for (let item = 0; item < 1000; item++) queue.push('huge', `huge ${item}`);
  queue.shift();
  queue.push('small', 'small');
  expect([queue.shift(), queue.shift()]).toContain('small');
});

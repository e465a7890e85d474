import { expect, test, vi } from 'vitest';
import { Failover } from './failover.ts';

test('a URL without pictures is left for the next; one that gave some is opened again', () => {
  const failover = new Failover('a', ['b', 'c']);
  const seen = [false, false, true, false].map((gavePictures) => {
    const isNew = failover.next(gavePictures);
    return [failover.url, isNew, failover.fallback];
  });
  expect(seen).toEqual([
    ['b', true, 1],
    ['c', true, 2],
    ['c', false, 2],
    ['a', false, undefined],
  ]);
  const single = new Failover('a');
  expect([single.next(false), single.url]).toEqual([false, 'a']);
});

test('the first URL is tried again until it is back, and no more after that', async () => {
  vi.useFakeTimers();
  try {
    const failover = new Failover('a', ['b'], 5);
    failover.next(false);
    const answers = [false, true];
    const isBack = vi.fn(async () => answers.shift() ?? true);
    const goBack = vi.fn();
    failover.watch(isBack, goBack);
    await vi.advanceTimersByTimeAsync(5_000);
    expect([isBack.mock.calls, goBack.mock.calls.length, failover.url]).toEqual([[['a']], 0, 'b']);
    await vi.advanceTimersByTimeAsync(20_000);
    expect([isBack.mock.calls.length, goBack.mock.calls.length, failover.url]).toEqual([2, 1, 'a']);
  } finally {
    vi.useRealTimers();
  }
});

import { expect, test, vi } from 'vitest';
import { Failover } from './failover.ts';
import type { Source } from './source/source.ts';

test('a URL without pictures is left for the next at once; one that gave some is opened again', () => {
  const failover = new Failover('a', ['b', 'c']);
  const seen = [false, false, true, false].map((gavePictures) => {
    const wait = failover.next(gavePictures, false);
    return [failover.url, wait > 0, failover.fallback];
  });
  expect(seen).toEqual([
    ['b', false, 1],
    ['c', false, 2],
    ['c', true, 2],
    ['a', true, undefined],
  ]);
  const single = new Failover('a');
  expect([single.next(false, false) > 0, single.url]).toEqual([true, 'a']);
});

test('the first URL is tried again until it gives a picture, and no more after that', async () => {
  vi.useFakeTimers();
  try {
    const failover = new Failover('a', ['b'], 5);
    failover.next(false, false);
    const close = vi.fn(async () => {});
    const answers = [[], [{}]];
    const open = vi.fn(async () => {
      const pictures = answers.shift();
      if (!pictures) throw new Error('asked too often');
      return {
        pictures: async function* () {
          yield* pictures;
        },
        close,
      } as unknown as Source;
    });
    const goBack = vi.fn();
    failover.watch(open, goBack);
    await vi.advanceTimersByTimeAsync(5_000);
    expect([open.mock.calls.length, goBack.mock.calls.length, failover.url]).toEqual([1, 0, 'b']);
    await vi.advanceTimersByTimeAsync(20_000);
    expect([open.mock.calls.length, goBack.mock.calls.length, failover.url]).toEqual([2, 1, 'a']);
    expect(close).toHaveBeenCalledTimes(2);
  } finally {
    vi.useRealTimers();
  }
});

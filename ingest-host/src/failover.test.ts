import { expect, test, vi } from 'vitest';
import { Failover } from './failover.ts';
import type { Source } from './source/source.ts';
import { SourceError } from './source/source-error.ts';

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

test('the first URL is tried in time however often the fallback breaks off, and later if it refuses us', async () => {
  vi.useFakeTimers();
  try {
    const failover = new Failover('a', ['b'], 5);
    failover.next(false, false);
    const open = vi.fn(async () => {
      throw new SourceError('401', true);
    });
    const goBack = vi.fn();
    for (let second = 0; second < 6; second++) {
      const end = failover.watch(open, goBack);
      await vi.advanceTimersByTimeAsync(1_000);
      end();
      failover.next(true, false);
    }
    expect(open).toHaveBeenCalledTimes(1);
    // A camera locks out who shows it a wrong password too often.
    failover.watch(open, goBack);
    await vi.advanceTimersByTimeAsync(20_000);
    expect(open).toHaveBeenCalledTimes(1);
    await vi.advanceTimersByTimeAsync(20_000);
    expect(open).toHaveBeenCalledTimes(2);
  } finally {
    vi.useRealTimers();
  }
});

test('a first URL that refuses us is left alone for half a minute, though its fallbacks fail', () => {
  const failover = new Failover('a', ['b']);
  failover.next(false, true);
  expect(failover.next(false, false)).toBeGreaterThan(20_000);
  expect(failover.url).toBe('a');
});

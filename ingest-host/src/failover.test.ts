import { expect, test, vi } from 'vitest';
import { Failover } from './failover.ts';
import type { Source } from './source/source.ts';
import { SourceError } from './source/source-error.ts';

test('a URL without pictures is replaced by the next at once, and one that gave pictures is opened again', () => {
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
  const wait = single.next(false, false);
  expect([wait > 0, single.url]).toEqual([true, 'a']);
  // The log shows it.
  expect(wait).toSatisfy(Number.isInteger);
});

test('the first URL is retried until it gives a picture', async () => {
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

test('the first URL is retried on time while the fallback keeps failing, and later if it refuses access', async () => {
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

test('a first URL that refuses access is not retried for half a minute, even if its fallbacks fail', () => {
  vi.useFakeTimers({ toFake: ['performance'] });
  try {
    const failover = new Failover('a', ['b']);
    const refused = performance.now();
    failover.next(false, true);
    let tries = 0;
    for (; failover.url === 'b'; tries += 1) vi.advanceTimersByTime(failover.next(false, false));
    expect(performance.now() - refused).toBeGreaterThan(20_000);
    // Meanwhile the fallback is tried by its own waits.
    expect(tries).toBeGreaterThan(3);
  } finally {
    vi.useRealTimers();
  }
});

test('each URL has its own backoff: a fallback that refuses access is not tried in every round', () => {
  vi.useFakeTimers({ toFake: ['performance'] });
  try {
    const failover = new Failover('a', ['b', 'c']);
    const asked: Record<string, number[]> = { a: [], b: [], c: [] };
    while (performance.now() < 120_000) {
      asked[failover.url]?.push(performance.now());
      // As long as an opening takes.
      vi.advanceTimersByTime(100);
      vi.advanceTimersByTime(failover.next(false, failover.url === 'c') + 1);
    }
    const gaps = (asked.c ?? []).slice(1).map((at, index) => at - (asked.c?.[index] ?? 0));
    expect(Math.min(...gaps)).toBeGreaterThan(20_000);
    expect(Math.max(...gaps)).toBeLessThan(50_000);
    for (const url of ['a', 'b']) expect(asked[url]?.length).toBeGreaterThan(9);
  } finally {
    vi.useRealTimers();
  }
});

test('a URL that gave pictures and then refuses access is replaced by the next at once', () => {
  const failover = new Failover('a', ['b']);
  expect([failover.next(true, true), failover.url]).toEqual([0, 'b']);
});

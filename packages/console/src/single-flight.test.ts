import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test, vi } from 'vitest';
import { BusyError, singleFlight } from './single-flight.ts';

const waiting = () => new AbortController();

/** Work that ends on demand, or is aborted. */
function work() {
  const { promise, resolve } = Promise.withResolvers<string>();
  const run = vi.fn(
    (signal: AbortSignal) =>
      new Promise<string>((done, fail) => {
        promise.then(done);
        signal.addEventListener('abort', () => fail(signal.reason));
      }),
  );
  return { run, end: resolve };
}

test('sixty concurrent callers share one run, and a later call runs again', async () => {
  const shared = singleFlight<string>(1, 4);
  const { run, end } = work();
  const asked = Array.from({ length: 60 }, () => shared('clip', run, waiting().signal));
  await sleep(1);
  end('made');
  expect(await Promise.all(asked)).toEqual(Array(60).fill('made'));
  expect(run).toHaveBeenCalledTimes(1);
  await shared('clip', run, waiting().signal);
  expect(run).toHaveBeenCalledTimes(2);
});

test('work runs up to a limit, waits up to a limit, and is rejected above both', async () => {
  const shared = singleFlight<string>(2, 3);
  const jobs = Array.from({ length: 5 }, work);
  const asked = jobs.map(({ run }, i) => shared(`clip ${i}`, run, waiting().signal));
  expect(jobs.map(({ run }) => run.mock.calls.length)).toEqual([1, 1, 0, 0, 0]);
  await expect(shared('another', work().run, waiting().signal)).rejects.toThrow(BusyError);
  for (const { end } of jobs) end('made');
  expect(await Promise.all(asked)).toHaveLength(5);
});

test('work without callers is aborted, or removed from the queue', async () => {
  const shared = singleFlight<string>(1, 4);
  const [first, second, third] = [work(), work(), work()];
  const [one, other, queued] = [waiting(), waiting(), waiting()];
  const asked = [
    shared('first', first.run, one.signal),
    shared('first', first.run, other.signal),
    shared('second', second.run, queued.signal),
    shared('third', third.run, waiting().signal),
  ];
  await sleep(1);
  queued.abort();
  one.abort();
  await Promise.allSettled([asked[0], asked[2]]);
  expect(first.run.mock.calls[0]?.[0].aborted).toBe(false);
  other.abort();
  await expect(asked[1]).rejects.toThrow('aborted');
  expect(first.run.mock.calls[0]?.[0].aborted).toBe(true);
  third.end('made');
  expect(await asked[3]).toBe('made');
  expect(second.run).not.toHaveBeenCalled();
});

test('a call during an abort starts new work, and an error reaches all callers', async () => {
  const shared = singleFlight<string>(1, 4);
  const [stopped, anew] = [work(), work()];
  const gone = waiting();
  const first = shared('clip', stopped.run, gone.signal);
  await sleep(1);
  gone.abort();
  await expect(first).rejects.toThrow('aborted');
  const second = shared('clip', anew.run, waiting().signal);
  anew.end('made');
  expect(await second).toBe('made');
  const failing = () => Promise.reject(new Error('no pictures'));
  const both = [1, 2].map(() => shared('bad', failing, waiting().signal));
  for (const one of both) await expect(one).rejects.toThrow('no pictures');
});

import { expect, test } from 'vitest';
import { Sampler } from './sampler.ts';

function sample(times: number[], rate: number): number[] {
  const sampler = new Sampler(rate);
  return times.filter((time) => sampler.keep(time));
}

const even = (rate: number, seconds: number) =>
  Array.from(
    { length: Math.round(rate * seconds) },
    (_, index) => Math.round((index / rate) * 90_000) / 90_000,
  );

// Between 1/20 and 1/60 of a second, repeatably.
function variable(seconds: number): number[] {
  const times: number[] = [];
  for (let time = 0, seed = 1; time < seconds; ) {
    times.push(time);
    seed = (seed * 16_807) % 2_147_483_647;
    time += 1 / (20 + (seed % 41));
  }
  return times;
}

const sources = [
  { name: '5 fps', times: even(5, 600), interval: 1 / 5 },
  { name: '25 fps', times: even(25, 600), interval: 1 / 25 },
  { name: '29.97 fps', times: even(30_000 / 1001, 600), interval: 1001 / 30_000 },
  { name: '50 fps', times: even(50, 600), interval: 1 / 50 },
  { name: 'a variable rate', times: variable(600), interval: 1 / 20 },
];
const cases = sources.flatMap((source) => [1, 2, 10, 15].map((rate) => ({ ...source, rate })));

test.each(cases)(
  '$name sampled at $rate frames a second: intervals are even, and the number of frames is right',
  (one) => {
    const kept = sample(one.times, one.rate);
    // A source can't give more than it has.
    const rate = Math.min(one.rate, 1 / one.interval);
    const deviations = kept.slice(1).map((time, index) => Math.abs(time - (kept[index] ?? 0) - 1 / rate));
    expect(Math.max(...deviations)).toBeLessThanOrEqual(one.interval + 0.003);
    const measured = (kept.length - 1) / ((kept.at(-1) ?? 0) - (kept[0] ?? 0));
    expect(Math.abs(measured / rate - 1)).toBeLessThan(0.001);
  },
);

test.each(cases)(
  '$name sampled at $rate frames a second: pictures that mayKeep() rejects are never kept',
  (one) => {
    const sampler = new Sampler(one.rate);
    const decoded = one.times.filter((time) => sampler.mayKeep(time) && (sampler.keep(time) || true));
    const kept = sample(decoded, one.rate);
    // Where the source's intervals vary, one longer than any before may cost its picture its place, to the next one.
    const all = sample(one.times, one.rate);
    const shared = kept.filter((time) => all.includes(time)).length;
    expect(shared / all.length).toBeGreaterThan(one.name === 'a variable rate' ? 0.99 : 0.9999);
    // Most of what is not kept is not decoded either, where the source is regular.
    const spared = (one.times.length - decoded.length) / (one.times.length - kept.length || 1);
    if (one.interval < 0.5 / one.rate && one.name !== 'a variable rate') expect(spared).toBeGreaterThan(0.6);
  },
);

test('a clock that is set back or far ahead restarts the sampling without a gap', () => {
  const before = even(25, 4);
  const after = even(25, 4).map((time) => time + 1000);
  expect(sample([...before, ...even(25, 4)], 10)).toHaveLength(80);
  expect(sample([...before, ...after], 10)).toHaveLength(80);
});

test('after a gap no extra frames are kept', () => {
  const times = [...even(25, 2), ...even(25, 2).map((time) => time + 5)];
  expect(sample(times, 10)).toHaveLength(40);
});

test('a clock that steps back a little repeatedly gives no more frames than the rate', () => {
  const times = even(25, 100).map((time, index) => (index % 10 === 5 ? time - 0.05 : time));
  expect(sample(times, 1)).toHaveLength(100);
  // Set back for good by less than half a second, it leaves a gap no longer than that.
  const kept = sample([...even(25, 4), ...even(25, 4).map((time) => time + 3.6)], 10);
  expect(kept.length).toBeGreaterThan(73);
});

test('a stream whose times restart at 0 every second, as in HLS with discontinuities, loses no frame', () => {
  const segments = Array.from({ length: 5 }, () => even(25, 1));
  expect(sample(segments.flat(), 25)).toHaveLength(125);
  expect(sample(segments.flat(), 10)).toHaveLength(50);
});

test('a stream whose times restart at 0 within half a second goes on', () => {
  const segments = Array.from({ length: 50 }, () => even(25, 0.4));
  expect(sample(segments.flat(), 10).length).toBeGreaterThan(100);
});

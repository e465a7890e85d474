import { AV_NOPTS_VALUE } from 'node-av/constants';
import { expect, test } from 'vitest';
import { recordedTimes } from './packet-times.ts';

const NONE = AV_NOPTS_VALUE;

test.each([
  ['all known', [100n, 140n, 180n], [0.1, 0.14, 0.18]],
  ['the last one unknown, as in AVI', [0n, 40n, NONE], [0, 0.04, 0.08]],
  [
    'the first ones unknown, as before 0 in Matroska',
    [NONE, NONE, 20n, 60n, 140n],
    [0, 0.04, 0.08, 0.12, 0.2],
  ],
  ['none known', [NONE, NONE, NONE], [0, 0.04, 0.08]],
])('times of pictures in milliseconds, when they are %s', (_name, stamps, times) => {
  for (const duration of [40n, 0n]) {
    const timeOf = recordedTimes(0.001, 0.04);
    const all = stamps.map((bestEffortTimestamp) => timeOf({ bestEffortTimestamp, duration }));
    expect(all.map((time) => Number(time.toFixed(6)))).toEqual(times);
  }
});

test('timestamps of an elementary stream are ignored, and times come from the count of pictures', () => {
  const timeOf = recordedTimes(0, 0.5);
  const times = [7n, 900n, NONE].map((bestEffortTimestamp) => timeOf({ bestEffortTimestamp, duration: 3n }));
  expect(times).toEqual([0, 0.5, 1]);
});

test('in concatenated recordings, times continue over a step back and over a large step ahead', () => {
  const timesOf = (maxStep: number | undefined, stamps: bigint[]) => {
    const timeOf = recordedTimes(0.001, 0.04, maxStep);
    return stamps.map((stamp) => Number(timeOf({ bestEffortTimestamp: stamp, duration: 40n }).toFixed(6)));
  };
  expect(timesOf(10, [0n, 40n, 900_000n, 900_040n, 20n, 60n])).toEqual([0, 0.04, 0.08, 0.12, 0.16, 0.2]);
  expect(timesOf(10, [400n, 440n, 0n, 40n])).toEqual([0.4, 0.44, 0.48, 0.52]);
  // A gap in the recording remains one; so does a picture every minute.
  expect(timesOf(10, [0n, 40n, 9_000n])).toEqual([0, 0.04, 9]);
  expect(timesOf(undefined, [0n, 60_000n, 120_000n])).toEqual([0, 60, 120]);
});

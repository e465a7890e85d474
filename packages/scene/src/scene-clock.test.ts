import { expect, test } from 'vitest';
import { SceneClock } from './scene-clock.ts';

const START = 1_800_000_000_000;
const INTERVAL = 100;
const LEAP = 2_000;

/** Takes frames of `session`, 100 ms apart by the camera's clock. @returns the scene's time, or undefined, of each */
function play(clock: SceneClock, session: string, from: number, ms: readonly number[]) {
  return ms.map((at, index) => {
    const stamp = { session, frameNumber: from + index, capturedAt: START + at };
    const tick = clock.take(stamp, INTERVAL, LEAP);
    return tick && tick.time - START;
  });
}
const running = () => {
  const clock = new SceneClock();
  expect(play(clock, 'live', 100, [0, 100, 200])).toEqual([0, 100, 200]);
  return clock;
};

test.each([
  ['a redriven frame of this session, an hour old', 'live', 3, -3_600_000],
  ['a frame delivered again', 'live', 102, 200],
  ['an old frame number with a new time', 'live', 50, 300],
  ['one frame of a session that is over', 'older', 7_000, -90_000],
  ['the first frame of a session that is over', 'older', 0, -90_000],
])('%s does not change scene time', (_name, session, number, at) => {
  const clock = running();
  expect(play(clock, session, number, [at])).toEqual([undefined]);
  expect(play(clock, 'live', 103, [300])).toEqual([300]);
});

test('a redrive of 250 old frames does not change scene time', () => {
  const clock = running();
  const old = Array.from({ length: 250 }, (_, index) => -600_000 + 100 * index);
  expect(new Set(play(clock, 'older', 40, old))).toEqual(new Set([undefined]));
  expect(play(clock, 'live', 103, [300, 400])).toEqual([300, 400]);
});

test.each([-600_000, -30_000, -3_000])(
  'a clock set back by %i ms is reported once, and scene time continues',
  (step) => {
    const clock = running();
    const take = (number: number, at: number) =>
      clock.take({ session: 'live', frameNumber: number, capturedAt: START + at }, INTERVAL, LEAP);
    expect(take(103, 300 + step)).toEqual({ time: START + 300, setBackMs: -step - 100 });
    expect(take(104, 400 + step)).toEqual({ time: START + 400 });
  },
);

test('scene time continues when the clock stands still', () => {
  expect(play(running(), 'live', 103, [200, 200, 200, 300])).toEqual([300, 400, 500, 600]);
});

test('one frame with a time a minute ahead does not stop the tracking', () => {
  expect(play(running(), 'live', 103, [59_000, 300, 400])).toEqual([undefined, 300, 400]);
});

test('after a real silence scene time continues with the second frame', () => {
  expect(play(running(), 'live', 103, [60_000, 60_100, 60_200])).toEqual([undefined, 60_100, 60_200]);
});

test('a session that begins with an earlier clock takes over with its third frame', () => {
  const clock = running();
  expect(play(clock, 'next', 0, [-600_000, -599_900, -599_800, -599_700])).toEqual([
    undefined,
    undefined,
    300,
    400,
  ]);
});

test('of two hosts on one camera, the frames of the one behind are ignored', () => {
  const clock = running();
  for (let index = 0; index < 10; index++) {
    expect(play(clock, 'other', index, [150 + 100 * index])).toEqual([undefined]);
    expect(play(clock, 'live', 103 + index, [300 + 100 * index])).toEqual([300 + 100 * index]);
  }
});

test('a frame number that is far too large is ignored, and the stream continues', () => {
  const clock = running();
  expect(play(clock, 'live', 9_000_000_000, [300])).toEqual([undefined]);
  expect(play(clock, 'live', 103, [400])).toEqual([400]);
});

test('a clock restored from its state gives the same times', () => {
  const whole = running();
  const clock = new SceneClock(JSON.parse(JSON.stringify(whole.state)));
  const frames = [59_000, 300, -10_000, -9_900];
  expect(play(clock, 'live', 103, frames)).toEqual(play(whole, 'live', 103, frames));
});

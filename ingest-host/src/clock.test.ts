import { expect, test } from 'vitest';
import { CaptureClock } from './clock.ts';

const NOW = 1_700_000_000_000;

test('without an RTCP report the time of capture is the time of arrival', () => {
  expect(new CaptureClock().capturedAt(40, NOW)).toBe(NOW);
});

test("with an RTCP report the time of capture is the camera's own time", () => {
  const clock = new CaptureClock();
  clock.report(0, NOW - 120);
  expect(clock.capturedAt(40, NOW)).toBe(NOW - 80);
});

test.each([
  ['a clock that was never set', 0],
  ['a clock a minute slow', NOW - 60_000],
  ['a clock a second fast', NOW + 1_000],
])('an RTCP report of %s is ignored', (_name, wallClock) => {
  const clock = new CaptureClock();
  clock.report(0, wallClock);
  expect(clock.capturedAt(0, NOW)).toBe(NOW);
});

test("times of capture never go back, although the camera's clock is set back", () => {
  const clock = new CaptureClock();
  clock.report(0, NOW);
  expect(clock.capturedAt(100, NOW + 100)).toBe(NOW + 100);
  clock.report(140, NOW - 2_000);
  expect(clock.capturedAt(140, NOW + 140)).toBe(NOW + 100);
});

test("times of capture follow the host's clock when it is set back", () => {
  const clock = new CaptureClock();
  clock.capturedAt(0, NOW);
  const times = [40, 80, 120].map((time) => clock.capturedAt(time, NOW - 600_000 + time));
  expect(times).toEqual([NOW - 599_960, NOW - 599_920, NOW - 599_880]);
});

test('a new connection does not use the reports of the one before', () => {
  const clock = new CaptureClock();
  clock.report(0, NOW);
  expect(clock.capturedAt(2_000, NOW + 2_000)).toBe(NOW + 2_000);
  clock.restart();
  const times = [0, 40, 80].map((time) => clock.capturedAt(time, NOW + 5_000 + time));
  expect(times).toEqual([NOW + 5_000, NOW + 5_040, NOW + 5_080]);
});

test('timestamps that restart within a connection discard its reports, too', () => {
  const clock = new CaptureClock();
  clock.report(0, NOW);
  expect(clock.capturedAt(3_000, NOW + 3_000)).toBe(NOW + 3_000);
  expect(clock.capturedAt(0, NOW + 6_000)).toBe(NOW + 6_000);
  expect(clock.capturedAt(40, NOW + 6_040)).toBe(NOW + 6_040);
});

test('a quick reconnect does not set times of capture ahead', () => {
  const clock = new CaptureClock();
  clock.capturedAt(2_000, NOW + 2_000);
  clock.restart();
  const times = [0, 40, 80].map((time) => clock.capturedAt(time, NOW + 2_500 + time));
  expect(times).toEqual([NOW + 2_500, NOW + 2_540, NOW + 2_580]);
});

test('a picture whose timestamp is hours ahead does not change later times of capture', () => {
  const clock = new CaptureClock();
  const times = Array.from({ length: 100 }, (_, index) => index * 40);
  const captured = times.map((time) =>
    clock.capturedAt(time + (time % 800 === 760 ? 37.6e6 : 0), NOW + time),
  );
  expect(captured).toEqual(times.map((time) => NOW + time));
});

test('a first report behind the time of arrival gives no series of frames with one time', () => {
  const clock = new CaptureClock();
  clock.restart();
  const before = clock.capturedAt(0, NOW);
  clock.report(40, NOW + 40 - 200);
  const times = Array.from({ length: 10 }, (_, index) => 40 * (index + 1)).map((time) => {
    clock.report(time, NOW + time - 200);
    return clock.capturedAt(time, NOW + time);
  });
  expect(times.at(-1)).toBe(NOW + 400 - 200);
  expect(new Set([before, ...times]).size).toBeGreaterThanOrEqual(10);
});

test("the time of capture of a file's picture is its start plus its position, whatever the arrival", () => {
  const clock = new CaptureClock();
  clock.capturedAt(0, NOW);
  clock.restart(NOW - 86_400_000);
  expect([1_000, 1_040, 1_500].map((time) => clock.capturedAt(time, NOW))).toEqual([
    NOW - 86_400_000,
    NOW - 86_400_000 + 40,
    NOW - 86_400_000 + 500,
  ]);
});

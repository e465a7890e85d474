import { expect, test } from 'vitest';
import { CaptureClock } from './clock.ts';

const NOW = 1_700_000_000_000;

test('without a report, capture is arrival', () => {
  expect(new CaptureClock().capturedAt(40, NOW)).toBe(NOW);
});

test("with a report, capture is the camera's own time", () => {
  const clock = new CaptureClock();
  clock.report(0, NOW - 120);
  expect(clock.capturedAt(40, NOW)).toBe(NOW - 80);
});

test.each([
  ['a clock that was never set', 0],
  ['a clock a minute slow', NOW - 60_000],
  ['a clock a second fast', NOW + 1_000],
])('%s is not believed', (_name, wallClock) => {
  const clock = new CaptureClock();
  clock.report(0, wallClock);
  expect(clock.capturedAt(0, NOW)).toBe(NOW);
});

test('never goes back, though the clock is set back', () => {
  const clock = new CaptureClock();
  clock.report(0, NOW);
  expect(clock.capturedAt(100, NOW + 100)).toBe(NOW + 100);
  clock.report(140, NOW - 2_000);
  expect(clock.capturedAt(140, NOW + 140)).toBe(NOW + 100);
});

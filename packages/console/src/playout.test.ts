import { expect, test } from 'vitest';
import { Playout } from '../page/playout.ts';
import type { LiveFrame } from './api.ts';

const frame = (captured_at: number) => ({ captured_at }) as LiveFrame;

/** Ten frames a second that arrive 25 at a time, shown at 60 Hz. @returns times between pictures, ms */
function play(offset: number): number[] {
  const playout = new Playout();
  const shown: number[] = [];
  for (let now = 0; now < 20_000; now += 16) {
    if (now % 2_512 === 0) {
      for (let i = 25; i > 0; i -= 1) playout.push(frame(now + offset - i * 100), now);
    }
    if (playout.due(now)) shown.push(now);
  }
  return shown.slice(30).map((time, i) => time - (shown[29 + i] ?? 0));
}

test('a stream that arrives in bursts is shown evenly', () => {
  const gaps = play(0);
  expect(gaps.length).toBeGreaterThan(120);
  expect(Math.max(...gaps)).toBeLessThanOrEqual(128);
  expect(Math.min(...gaps)).toBeGreaterThanOrEqual(80);
});

test('a difference of an hour between clocks does not matter', () => {
  expect(play(3_600_000)).toEqual(play(0));
});

test('after a hidden tab becomes visible, the newest picture is shown', () => {
  const playout = new Playout();
  for (let i = 0; i < 1_000; i += 1) playout.push(frame(i * 100), i * 100 + 50);
  expect(playout.due(200_000)?.captured_at).toBe(99_900);
  expect(playout.due(200_000)).toBeUndefined();
});

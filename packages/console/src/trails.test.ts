import { expect, test } from 'vitest';
import { Trails } from '../page/trails.ts';
import type { FrameFacts } from './api.ts';

/** A frame in which the track stands at `x` of 100 pixels, its feet at 50 of 100. */
function frame(captured_at: number, x: number, track_id?: string): FrameFacts {
  const seen = { class_id: 0, class_name: 'person', confidence: 0.9, ...(track_id ? { track_id } : {}) };
  return {
    stream_id: 'yard',
    frame_number: 0,
    session: 's',
    captured_at,
    width: 100,
    height: 100,
    model: 'm',
    detections: [{ ...seen, bbox: [x - 5, 10, x + 5, 50] }],
  };
}

test('a trail has the positions of five seconds, in order of capture', () => {
  const trails = new Trails();
  for (const at of [6_000, 0, 3_000, 1_500, 3_000]) trails.add(frame(at, at / 100, 't'));
  trails.add(frame(3_000, 90, 'other'));
  trails.add(frame(4_000, 50));
  expect(trails.of('t', 6_000)).toEqual([
    [0.15, 0.5],
    [0.3, 0.5],
    [0.6, 0.5],
  ]);
  expect(trails.of('t', 3_000)).toHaveLength(3);
  expect(trails.of('nobody', 3_000)).toEqual([]);
});

test('positions older than a minute are dropped', () => {
  const trails = new Trails();
  trails.add(frame(0, 10, 'gone'));
  trails.add(frame(60_001, 20, 't'));
  expect(trails.of('gone', 0)).toEqual([]);
  expect(trails.of('t', 60_001)).toEqual([[0.2, 0.5]]);
});

import type { Detection } from '@video-pipeline/frame';
import { expect, test } from 'vitest';
import { scenes } from '../../../test/bench/scenes.ts';
import { ByteTracker } from './bytetrack.ts';
import { DEFAULT_TRACKER } from './config.ts';

const START = 1_800_000_000_000;
const seen = (x: number, confidence = 0.9, class_name = 'person'): Detection => ({
  class_id: 0,
  class_name,
  confidence,
  bbox: [x, 100, x + 50, 200],
});
/** Tracks frames 100 ms apart. @returns the ids of each frame */
function track(frames: Detection[][], tracker = new ByteTracker(DEFAULT_TRACKER)) {
  return frames.map(
    (detections, index) => tracker.update({ capturedAt: START + 100 * index, detections }).ids,
  );
}

test('an object keeps its id through gaps and low confidences, and no other object gets the id', () => {
  const ids = track([
    [seen(0)],
    [seen(10)],
    [],
    [seen(30, 0.15)],
    [],
    [seen(50)],
    [seen(60), seen(400)],
    [seen(70), seen(400)],
  ]);
  const id = ids[0]?.[0];
  expect(id).toBe(`${START.toString(36)}-0`);
  expect(ids.slice(0, 6)).toEqual([[id], [id], [], [undefined], [], [id]]);
  expect(ids[6]).toEqual([id, undefined]);
  expect(ids[7]?.[0]).toBe(id);
  expect(ids[7]?.[1]).toBe(`${(START + 600).toString(36)}-1`);
});

test('a box with low confidence continues a track, and never begins one', () => {
  expect(track([[seen(0)], [seen(5, 0.2)], [seen(10)]]).flat()).toEqual(
    Array(3).fill(`${START.toString(36)}-0`),
  );
  expect(track([[seen(0, 0.4)], [seen(0, 0.4)], [seen(0, 0.4)]]).flat()).toEqual(Array(3).fill(undefined));
});

test('an object that returns after too long a time gets a new id', () => {
  const tracker = new ByteTracker(DEFAULT_TRACKER);
  const at = (ms: number, detections = [seen(0)]) => tracker.update({ capturedAt: START + ms, detections });
  const nothingUntil = (from: number, to: number) => {
    for (let ms = from; ms < to; ms += 100) at(ms, []);
  };
  const first = at(0).ids[0];
  nothingUntil(100, 2_000);
  expect(at(2_000).ids).toEqual([first]);
  nothingUntil(2_100, 4_001);
  const later = at(4_001);
  expect(later.ids).toEqual([undefined]);
  expect(later.ended.map(({ id }) => id)).toEqual([first]);
  expect(at(4_100).ids[0]).not.toBe(first);
});

test('boxes of different classes at the same place are different objects', () => {
  const ids = track(Array.from({ length: 3 }, () => [seen(0), seen(0, 0.8, 'bicycle')]));
  expect(new Set(ids.flat()).size).toBe(2);
});

test('a frame that is not newer than the last changes nothing', () => {
  const tracker = new ByteTracker(DEFAULT_TRACKER);
  track([[seen(0)], [seen(10)], [seen(20)]], tracker);
  const before = JSON.stringify(tracker.state);
  for (const capturedAt of [START, START + 150, START + 200]) {
    expect(tracker.update({ capturedAt, detections: [seen(300)] })).toEqual({
      ids: [undefined],
      tracks: [undefined],
      ended: [],
      dropped: [],
    });
  }
  expect(JSON.stringify(tracker.state)).toBe(before);
});

test('a tracker restored from its JSON state after any frame gives the same ids', () => {
  const [scene] = scenes(7, 'noisy-10');
  const frames = scene?.frames.slice(0, 60).map(({ detections }) => detections) ?? [];
  const whole = track(frames);
  expect(new Set(whole.flat()).size).toBeGreaterThan(8);
  let tracker = new ByteTracker(DEFAULT_TRACKER);
  const restarted = frames.map((detections, index) => {
    tracker = new ByteTracker(DEFAULT_TRACKER, JSON.parse(JSON.stringify(tracker.state)));
    return tracker.update({ capturedAt: START + 100 * index, detections }).ids;
  });
  expect(restarted).toEqual(whole);
});

test('of thousands of overlapping boxes the thousand with the highest confidence are tracked', () => {
  const tracker = new ByteTracker(DEFAULT_TRACKER);
  const boxes = Array.from({ length: 4_000 }, (_, index) => ({
    ...seen(0),
    confidence: index % 2 ? 0.9 : 0.6,
    bbox: [index % 7, 0, 900 + (index % 11), 900] as Detection['bbox'],
  }));
  for (const capturedAt of [START, START + 100]) {
    const { tracks } = tracker.update({ capturedAt, detections: boxes });
    const followed = tracks.flatMap((track, index) => (track ? [index % 2] : []));
    expect(followed).toHaveLength(1_000);
    expect(followed).not.toContain(0);
  }
});

test('boxes of any size leave the state finite', () => {
  const tracker = new ByteTracker(DEFAULT_TRACKER);
  const bbox: Detection['bbox'][] = [
    [0, 0, 0, 0],
    [5, 5, 5, 5],
    [-1e12, -1e12, 1e12, 1e12],
    [0, 0, 65_535, 1],
  ];
  track(
    Array.from({ length: 20 }, () => bbox.map((one) => ({ ...seen(0), bbox: one }))),
    tracker,
  );
  expect(JSON.stringify(tracker.state)).not.toContain('null');
});

import { expect, test, vi } from 'vitest';
import type { LiveFrame } from './api.ts';
import { frameCache, frameId } from './frame-cache.ts';
import { LiveFrames } from './live.ts';
import { ClassCounts } from './timeline.ts';

const NOW = Date.UTC(2026, 10, 25, 7);

const frame = (streamId: string, frameNumber: number, capturedAt = NOW + frameNumber * 100, bytes = 100) => ({
  streamId,
  frameNumber,
  session: 's',
  capturedAt,
  width: 400,
  height: 300,
  jpeg: Buffer.alloc(bytes),
  detections: [
    {
      class_id: 0,
      class_name: 'person',
      confidence: 0.9,
      bbox: [1, 2, 3, 4] as [number, number, number, number],
    },
  ],
  model: 'm',
});

test('frames a second and latency are right when the clock of the host is set back', () => {
  const live = new LiveFrames();
  const back = NOW - 3_600_000;
  for (const [start, latency] of [
    [NOW, 9_000],
    [back, 1_000],
  ] as const)
    for (let i = 0; i < 300; i++) live.add(frame('yard', i), NOW + i * 100 + latency, start + i * 100);
  expect(live.newest()[0]?.fps).toBeCloseTo(10, 0);
  expect(live.latency(back + 30_000)).toEqual({ p50: 1_000, p95: 1_000 });
});

test('the cache drops the oldest frame of any stream, and keeps the newest of each stream', () => {
  const cache = frameCache({ maxBytes: 400, maxOthers: 10 });
  cache.add(frame('quiet', 0));
  for (let number = 1; number <= 10; number += 1) cache.add(frame('busy', number));
  expect(cache.bytes()).toBe(400);
  expect(cache.of('quiet').map(({ frameNumber }) => frameNumber)).toEqual([0]);
  expect(cache.of('busy').map(({ frameNumber }) => frameNumber)).toEqual([8, 9, 10]);
  expect(cache.get('busy', frameId(frame('busy', 7)))).toBeUndefined();
});

test('a frame that is delivered again is cached once', () => {
  const cache = frameCache({ maxBytes: 1000, maxOthers: 10 });
  cache.add(frame('yard', 1));
  cache.add(frame('yard', 1));
  expect(cache.of('yard')).toHaveLength(1);
  expect(cache.bytes()).toBe(100);
});

test('above the limit of streams, the one that is silent longest is dropped', () => {
  const cache = frameCache({ maxBytes: 1000, maxOthers: 2 });
  for (const stream of ['a', 'b', 'a', 'c']) cache.add(frame(stream, 1));
  expect(cache.streams()).toEqual(['a', 'c']);
  expect(cache.bytes()).toBe(200);
});

test('the usual interval of frames is that of capture times, and a silent stream has none', () => {
  const live = new LiveFrames();
  for (let number = 0; number < 12; number += 1)
    live.add(frame('gate', number, NOW + 2_000 * number + (number === 5 ? 900 : 0)), NOW, NOW);
  live.add(frame('once', 0), NOW, NOW);
  expect([live.intervalMs('gate', NOW), live.intervalMs('once', NOW)]).toEqual([2_000, 0]);
  expect(live.intervalMs('gate', NOW + 31_000)).toBe(0);
});

test('rate, delay of detection and counts by class are computed from received frames', () => {
  const live = new LiveFrames();
  const told = vi.fn<(streamId: string, json: string) => void>();
  const unsubscribe = live.subscribe(told);
  for (let number = 0; number < 100; number += 1) {
    const one = frame('yard', number);
    live.add(one, one.capturedAt + 40 + number, one.capturedAt + 500);
  }
  const newest: LiveFrame = JSON.parse(told.mock.lastCall?.[1] ?? '');
  expect(newest).toMatchObject({ stream_id: 'yard', frame_number: 99, arrived_at: NOW + 10_400 });
  expect(newest.fps).toBeCloseTo(10, 0);
  expect(live.newest()).toEqual([newest]);
  expect(live.latency(NOW + 11_000)).toEqual({ p50: 89, p95: 134 });
  expect(live.latency(NOW + 60_000)).toBeNull();
  const { from, bin_ms, bins, classes } = live.timeline('yard', 15, NOW + 10_000);
  expect(from + bins * bin_ms).toBeGreaterThan(NOW + 10_000);
  expect(classes.person?.reduce((sum, count) => sum + count, 0)).toBe(100);
  expect(live.timeline('nobody', 15, NOW).classes).toEqual({});
  unsubscribe();
  live.add(frame('yard', 100), NOW, NOW);
  expect(told).toHaveBeenCalledTimes(100);
});

/** Records of a hostile producer: one of 4 MB for each invented stream. */
const madeUp = (n: number) => frame(`made-up-${n}`, 0, NOW + n, 4_000_000);

test('the newest pictures of all streams fit the memory limit, and unknown streams are limited in number', () => {
  const live = new LiveFrames({
    maxBytes: 40_000_000,
    maxOthers: 16,
    isListed: (streamId) => streamId === 'yard',
  });
  live.add(frame('yard', 0, NOW - 1_000), NOW, NOW);
  for (let n = 0; n < 256; n += 1) live.add(madeUp(n), NOW, NOW);
  expect(live.streams()).toHaveLength(17);
  expect(live.forgotten).toBe(240);
  const held = live.streams().flatMap((id) => live.recent(id).map((one) => [id, one] as const));
  const bytes = held.map(
    ([id, one]) =>
      live.frame(id, frameId({ ...one, capturedAt: one.captured_at, frameNumber: one.frame_number }))?.jpeg
        .length ?? 0,
  );
  expect(bytes.reduce((sum, some) => sum + some, 0)).toBeLessThanOrEqual(40_000_000);
  // The stream is known, and is shown again with its next picture.
  expect(live.newest().find(({ stream_id }) => stream_id === 'yard')).toMatchObject({
    captured_at: NOW - 1_000,
  });
  live.add(frame('yard', 1, NOW + 1_000), NOW, NOW + 1_000);
  expect(live.recent('yard').map(({ frame_number }) => frame_number)).toEqual([1]);
  expect(live.frame('yard', `${NOW + 1_000}-1`)?.jpeg).toHaveLength(100);
});

test('detections count for the memory limit, too', () => {
  const cache = frameCache({ maxBytes: 1_000_000, maxOthers: 300 });
  const [one] = frame('', 0).detections;
  const crowd = Array.from({ length: 4_000 }, () => one as NonNullable<typeof one>);
  for (let n = 0; n < 256; n += 1) cache.add({ ...frame(`made-up-${n}`, 0), detections: crowd });
  expect(cache.bytes()).toBeLessThanOrEqual(1_000_000);
  expect(cache.streams()).toHaveLength(256);
});

test('counts by class are limited, for any number of names and times', () => {
  const counts = new ClassCounts();
  const [one] = frame('', 0).detections;
  for (let n = 0; n < 2_000; n += 1) {
    const detections = Array.from({ length: 200 }, (_, i) => ({
      ...(one as NonNullable<typeof one>),
      class_name: `${i}-${n}-${'x'.repeat(1_000)}`,
    }));
    counts.add(NOW + n * 10_000, detections);
  }
  const { classes } = counts.query(NOW + 2_000 * 10_000, 360);
  expect(Object.keys(classes).length).toBeLessThanOrEqual(32_768);
  expect(Object.keys(classes).length).toBeGreaterThan(30_000);
  expect(Math.max(...Object.keys(classes).map((name) => name.length))).toBe(64);
});

import type { Detection } from '@video-pipeline/frame';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { sceneConfigSchema } from './config.ts';
import type { SceneEvent } from './event.ts';
import { Scene, type SceneFrame } from './scene.ts';

const START = Date.UTC(2026, 10, 25, 7);
const WIDTH = 1920;
const HEIGHT = 1080;
const RULES = {
  zones: {
    yard: {
      polygon: [
        [0.25, 0.25],
        [0.75, 0.25],
        [0.75, 1],
        [0.25, 1],
      ],
    },
  },
  lines: { gate: { from: [0.5, 1], to: [0.5, 0] } },
  events: [
    { type: 'entered_zone', name: 'in', zone: 'yard' },
    { type: 'left_zone', name: 'out', zone: 'yard' },
    { type: 'stayed_longer', name: 'stay', zone: 'yard', seconds: 5 },
    { type: 'count_over', name: 'crowd', zone: 'yard', count: 1 },
    { type: 'line_crossed', name: 'x', line: 'gate' },
  ],
};

/** Bottom centre at `x`, px; 80 wide and 200 high unless said otherwise. */
const box = (x: number, { y = 900, width = 80, height = 200, class_name = 'person' } = {}): Detection => ({
  class_id: 0,
  class_name,
  confidence: 0.9,
  bbox: [x - width / 2, y - height, x + width / 2, y],
});
const frame = (index: number, ms: number, detections: Detection[], more: Partial<SceneFrame> = {}) => ({
  capturedAt: START + ms,
  frameNumber: 10_000 + index,
  session: 'live',
  width: WIDTH,
  height: HEIGHT,
  detections,
  ...more,
});
/** `seconds` of frames at `fps`. @param at detections this many ms after the start */
const film = (fps: number, seconds: number, at: (ms: number, index: number) => Detection[]) =>
  Array.from({ length: Math.floor(fps * seconds) }, (_, index) => {
    const ms = Math.round((1000 * index) / fps);
    return frame(index, ms, at(ms, index));
  });

interface Outcome {
  ids: number;
  events: Partial<Record<SceneEvent['type'], number>>;
}
function play(frames: readonly SceneFrame[], rules: object = RULES): Outcome {
  const scene = new Scene('cam', sceneConfigSchema.parse(rules), { prefix: 'annotated' });
  const seen = frames.map((one) => scene.update(one));
  const ids = new Set(seen.flatMap(({ detections }) => detections.flatMap(({ track_id }) => track_id ?? [])));
  const events: Outcome['events'] = {};
  for (const { type } of seen.flatMap((one) => one.events)) events[type] = (events[type] ?? 0) + 1;
  return { ids: ids.size, events };
}
/** Walks at `speed` px/s, in the picture only. */
const walk = (from: number, speed: number) => (ms: number) => {
  const x = from + (speed * ms) / 1000;
  return x > -40 && x < WIDTH + 40 ? [box(x)] : [];
};
/** In, over the line, out. */
const VISIT = { ids: 1, events: { entered_zone: 1, stayed_longer: 1, line_crossed: 1, left_zone: 1 } };
const visit = film(10, 20, walk(200, 120));

test('a visit of one person gives its events', () => {
  expect(play(visit)).toEqual(VISIT);
});

test.each([1, 30])('%i redriven old frames in a visit do not change its events', (count) => {
  const old = Array.from({ length: count }, (_, index) => frame(index - 9_000, -90_000 + 100 * index, []));
  expect(play(visit.toSpliced(70, 0, ...old))).toEqual(VISIT);
  const other = old.map((one) => ({ ...one, session: 'older' }));
  expect(play(visit.toSpliced(70, 0, ...other))).toEqual(VISIT);
});

test.each([-600_000, -30_000])('a clock set back by %i ms in a visit does not change its events', (step) => {
  const stepped = visit.map((one, index) =>
    index < 70 ? one : { ...one, capturedAt: one.capturedAt + step },
  );
  expect(play(stepped)).toEqual(VISIT);
});

test('one frame 59 s ahead in a visit does not change its events', () => {
  const ahead = visit.map((one, index) =>
    index === 70 ? { ...one, capturedAt: one.capturedAt + 59_000 } : one,
  );
  expect(play(ahead)).toEqual(VISIT);
});

test.each([0.2, 0.3, 0.45, 0.5, 1])('at %f frames a second a person who stands has one id', (fps) => {
  const jitter = (ms: number) => 950 + 4 * Math.sin(ms);
  const standing = film(fps, 120, (ms) => (ms < 5_000 ? [] : [box(jitter(ms))]));
  const uneven = standing.map((one, index) => ({ ...one, capturedAt: one.capturedAt + 40 * (index % 3) }));
  expect(play(uneven)).toEqual({ ids: 1, events: { entered_zone: 1, stayed_longer: 1 } });
});

test.each([0.5, 1, 2])('at %f frames a second a person who walks beyond the last box keeps the id', (fps) => {
  const walking = film(fps, 40, walk(200, 60));
  expect(play(walking)).toEqual(VISIT);
});

test('a line that is crossed just before the edge of the picture gives line_crossed', () => {
  const rules = { ...RULES, lines: { gate: { from: [0.95, 1], to: [0.95, 0] } } };
  const missed = [];
  for (let speed = 200; speed <= 500; speed += 10) {
    const leaving = film(10, 12, (ms) => {
      const x = 1300 + (speed * ms) / 1000;
      return x < WIDTH - 30 ? [box(x)] : [];
    });
    const last = leaving.findLast(({ detections }) => detections.length > 0)?.detections[0]?.bbox ?? [0];
    // The object was seen at least a tenth of its width beyond the line. Otherwise the crossing can't be known.
    const beyond = Number(last[0]) + 40 - 0.95 * WIDTH >= 8;
    if (beyond && play(leaving, rules).events.line_crossed !== 1) missed.push(speed);
  }
  expect(missed).toEqual([]);
});

test('a line that is crossed between the first and the second frame gives line_crossed', () => {
  const frames = film(1, 10, (ms) => (ms < 2_000 ? [] : [box(950 + (20 * (ms - 2_000)) / 1000)]));
  expect(play(frames).events.line_crossed).toBe(1);
});

test.each([0.1, 0.3, 0.5])('an object whose class changes in %f of the frames is one object', (share) => {
  const wavering = visit.map((one, index) => ({
    ...one,
    detections: one.detections.map((detection) => ({
      ...detection,
      class_name: (index * 0.618) % 1 < share ? 'truck' : 'car',
    })),
  }));
  expect(play(wavering)).toEqual(VISIT);
  const strict = { ...RULES, tracks: { strict_classes: true } };
  expect(play(wavering, strict).ids).toBeGreaterThan(1);
});

test('with one_per_object, two boxes of two classes on one object are one object', () => {
  const doubled = visit.map((one) => ({
    ...one,
    detections: one.detections.flatMap((detection): Detection[] => [
      detection,
      { ...detection, class_name: 'rider', confidence: 0.6 },
    ]),
  }));
  expect(play(doubled).ids).toBe(2);
  expect(play(doubled, { ...RULES, filters: { one_per_object: 0.8 } })).toEqual(VISIT);
});

test('a change of resolution in a visit does not change its events', () => {
  const smaller = visit.map((one, index) =>
    index < 60 ? one : { ...one, width: 1280, height: 720, detections: one.detections.map(twoThirds) },
  );
  expect(play(smaller)).toEqual(VISIT);
});
const twoThirds = (detection: Detection): Detection => ({
  ...detection,
  bbox: detection.bbox.map((side) => (side * 2) / 3) as Detection['bbox'],
});

test('a lost object is not counted, unless the rule counts lost objects', () => {
  const relay = film(10, 12, (ms) => (ms < 6_000 ? [box(600)] : [box(1300)]));
  expect(play(relay).events.count_over).toBeUndefined();
  const [crowd, ...rest] = RULES.events.toSorted((one) => (one.type === 'count_over' ? -1 : 1));
  const events = [{ ...crowd, include_lost: true }, ...rest];
  expect(play(relay, { ...RULES, events }).events.count_over).toBe(1);
});

test('a crowd with one object hidden for a moment fires count_over once', () => {
  const crowd = film(10, 12, (ms) => [box(600), ...(ms % 2_000 < 1_000 ? [box(1300)] : [])]);
  expect(play(crowd).events.count_over).toBe(1);
});

test('standing on a line is no crossing; a car that stops on it crosses it once', () => {
  const random = seeded(7);
  const tremble = (size: number) => (random() + random() + random() - 1.5) * size;
  const standing = film(10, 120, () => [box(960 + tremble(8), { y: 900 + tremble(8) })]);
  expect(play(standing).events.line_crossed).toBeUndefined();
  const car = film(10, 70, (ms) => {
    const x = ms < 5_000 ? 560 + (400 * ms) / 5_000 : ms < 60_000 ? 960 : 960 + (400 * (ms - 60_000)) / 5_000;
    return [box(x + tremble(16), { width: 260, height: 160, class_name: 'car' })];
  });
  expect(play(car).events.line_crossed).toBe(1);
});

/** The events that a walk between two turning points must give, computed from the path alone. */
interface Walk {
  fps: number;
  speed: number;
  jitter: number;
  gap: number;
  smallerFrom: number;
  redriven: number;
  seed: number;
}
const walks: fc.Arbitrary<Walk> = fc.record({
  fps: fc.constantFrom(1, 2, 5, 10, 25, 60),
  speed: fc.integer({ min: 40, max: 160 }),
  jitter: fc.constantFrom(0, 0.02, 0.2),
  gap: fc.constantFrom(0, 0.05, 0.1),
  smallerFrom: fc.constantFrom(Number.POSITIVE_INFINITY, 4_000),
  redriven: fc.integer({ min: 0, max: 20 }),
  seed: fc.integer({ min: 0, max: 1_000_000 }),
});

function framesOf({ fps, speed, jitter, gap, smallerFrom, redriven, seed }: Walk): SceneFrame[] {
  const random = seeded(seed);
  const frames = film(fps, 1_800 / speed, walk(200, speed)).map((one, index): SceneFrame => {
    const moved = one.capturedAt + Math.round((jitter * (random() - 0.5) * 1000) / fps);
    // The last frame before an end must show it, whatever is missed.
    const missed = random() < gap && index > 2;
    const smaller = one.capturedAt - START >= smallerFrom;
    const detections = missed ? [] : smaller ? one.detections.map(twoThirds) : one.detections;
    return { ...one, capturedAt: moved, detections, ...(smaller ? { width: 1280, height: 720 } : {}) };
  });
  const old = Array.from({ length: redriven }, (_, index) => frame(index - 500, -70_000 + index, [box(900)]));
  const twice = frames.flatMap((one) => (random() < 0.05 ? [one, one] : [one]));
  return twice.toSpliced(twice.length >> 1, 0, ...old);
}

test('for any rate, jitter, gaps, resolution and redelivery, a walker is one object that crosses once', () => {
  let wrong = 0;
  const runs = 200;
  fc.assert(
    fc.property(walks, (one) => {
      const { ids, events } = play(framesOf(one));
      expect(events.entered_zone ?? 0).toBeLessThanOrEqual(1);
      expect(events.line_crossed ?? 0).toBeLessThanOrEqual(1);
      const same = ids === 1 && events.entered_zone === 1 && events.line_crossed === 1;
      if (!same) wrong++;
    }),
    { numRuns: runs, seed: 27 },
  );
  expect(wrong / runs).toBeLessThanOrEqual(0.01);
  // A busy machine takes over 20 s.
}, 120_000);

test('the state of a crowd of a thousand fits into a Kafka record', () => {
  const scene = new Scene('cam', sceneConfigSchema.parse(RULES), { prefix: 'annotated' });
  const random = seeded(3);
  const crowd = Array.from({ length: 1_000 }, () => [WIDTH * random(), HEIGHT * random()] as const);
  for (let index = 0; index < 5; index++) {
    const detections = crowd.map(([x, y]) => box(x + index, { y, width: 12, height: 30 }));
    scene.update(frame(index, 100 * index, detections));
  }
  expect(scene.state?.length).toBeLessThan(300_000);
});

/** Numbers from 0 to 1: Park and Miller's generator. */
function seeded(seed: number): () => number {
  let state = (seed % 2_147_483_646) + 1;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
}

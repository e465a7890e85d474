import { deflateRawSync, inflateRawSync } from 'node:zlib';
import type { Detection } from '@video-pipeline/frame';
import { expect, test } from 'vitest';
import { sceneConfigSchema } from './config.ts';
import { type SceneEvent, sceneEventSchema } from './event.ts';
import { Scene } from './scene.ts';

const START = Date.UTC(2026, 10, 25, 7);
const SIZE = { width: 1000, height: 1000 };
const ZONES = {
  yard: {
    polygon: [
      [0.5, 0],
      [1, 0],
      [1, 1],
      [0.5, 1],
    ],
  },
};
const LINES = { gate: { from: [0.5, 1], to: [0.5, 0] } };

/** Position of an object's bottom centre, px; undefined while it isn't seen. */
type Path = (number | undefined)[];
const object = (x: number, y: number, class_name = 'person'): Detection => ({
  class_id: 0,
  class_name,
  confidence: 0.9,
  bbox: [x - 50, y - 200, x + 50, y],
});
/** One frame each 100 ms, in which objects walk at different heights along their paths. */
const frames = (...paths: Path[]) =>
  Array.from({ length: Math.max(...paths.map((path) => path.length)) }, (_, index) => ({
    ...SIZE,
    capturedAt: START + 100 * index,
    frameNumber: index,
    detections: paths.flatMap((path, lane) => {
      const x = path[index];
      return x === undefined ? [] : [object(x, 250 * (lane + 1))];
    }),
  }));
const walk = (from: number, to: number, count: number) =>
  Array.from({ length: count }, (_, index) => from + ((to - from) * index) / (count - 1));
const stand = (x: number, count: number) => Array<number>(count).fill(x);

function play(events: object[], list: ReturnType<typeof frames>): SceneEvent[] {
  const scene = new Scene('cam', sceneConfigSchema.parse({ zones: ZONES, lines: LINES, events }), {
    prefix: 'annotated',
  });
  return list.flatMap((frame) => scene.update(frame).events);
}
const facts = (events: SceneEvent[]) =>
  events.map(({ type, at, zone, line, direction, seconds, count }) =>
    JSON.parse(JSON.stringify({ type, ms: at - START, zone, line, direction, seconds, count })),
  );
const key = (index: number) => `annotated/cam/date=2026-11-25/hour=07/${START + 100 * index}-${index}.jpg`;

const entered = { type: 'entered_zone', name: 'in', zone: 'yard' };
const left = { type: 'left_zone', name: 'out', zone: 'yard' };

test('a person who walks into a zone and out again gives entered_zone and left_zone', () => {
  const path = [...walk(300, 700, 21), ...stand(700, 10), ...walk(700, 300, 21), ...stand(300, 10)];
  const events = play([entered, left], frames(path));
  expect(facts(events)).toEqual([
    { type: 'entered_zone', ms: 1000, zone: 'yard' },
    { type: 'left_zone', ms: 4200, zone: 'yard' },
  ]);
  expect(events.map((event) => event.frames)).toEqual([
    [key(9), key(10)],
    [key(41), key(42)],
  ]);
  expect(events.map((event) => sceneEventSchema.parse(event))).toEqual(events);
  expect(events[0]).toMatchObject({ rule: 'in', stream_id: 'cam', class_name: 'person' });
  expect(events[0]?.track_id).toBe(events[1]?.track_id);
  expect(events[0]?.event_id).not.toBe(events[1]?.event_id);
});

test('an object that moves back and forth on the border gives no event', () => {
  const path = Array.from({ length: 60 }, (_, index) => (index % 4 < 2 ? 490 : 510));
  expect(play([entered, left], frames(path))).toEqual([]);
});

test('an object that appears in a zone entered it, and one that is lost in it left it', () => {
  const path = [...stand(700, 20), ...Array<undefined>(30).fill(undefined)];
  const events = play([entered, left], frames(path));
  expect(facts(events)).toEqual([
    { type: 'entered_zone', ms: 0, zone: 'yard' },
    { type: 'left_zone', ms: 1900, zone: 'yard' },
  ]);
  expect(events[1]?.frames).toEqual([key(19)]);
});

test('a short occlusion in a zone is neither a leaving nor an entering', () => {
  const path = [...stand(700, 15), ...Array<undefined>(10).fill(undefined), ...stand(700, 15)];
  expect(facts(play([entered, left], frames(path)))).toEqual([{ type: 'entered_zone', ms: 0, zone: 'yard' }]);
});

test('stayed_longer fires once a stay, when the stay is longer than its limit', () => {
  const rule = { type: 'stayed_longer', name: 'loiter', zone: 'yard', seconds: 2 };
  const path = [...stand(700, 50), ...walk(700, 300, 30), ...walk(300, 700, 30), ...stand(700, 30)];
  const events = play([rule], frames(path));
  expect(facts(events)).toEqual([
    { type: 'stayed_longer', ms: 2100, zone: 'yard', seconds: 2.1 },
    { type: 'stayed_longer', ms: 11_600, zone: 'yard', seconds: 2.1 },
  ]);
  expect(events[0]?.frames).toEqual([key(0), key(21)]);
});

test('a line is crossed to the left or to the right', () => {
  const rules = (['left', 'right', 'any'] as const).map((direction) => ({
    type: 'line_crossed',
    name: direction,
    line: 'gate',
    direction,
  }));
  const path = [...walk(310, 710, 21), ...walk(710, 310, 21), ...stand(310, 10)];
  const events = play(rules, frames(path));
  expect(events.map(({ rule, direction }) => [rule, direction])).toEqual([
    ['right', 'right'],
    ['any', 'right'],
    ['left', 'left'],
    ['any', 'left'],
  ]);
  expect(events[0]?.frames).toEqual([key(9), key(10)]);
});

test('turning back on the line, standing on it, or going around its end is no crossing', () => {
  const rule = { type: 'line_crossed', name: 'gate', line: 'gate' };
  const config = sceneConfigSchema.parse({
    lines: { gate: { from: [0.5, 0.4], to: [0.5, 0] } },
    events: [rule],
  });
  const scene = new Scene('cam', config, { prefix: 'annotated' });
  expect(frames(stand(0, 0), walk(300, 700, 40)).flatMap((frame) => scene.update(frame).events)).toEqual([]);
  expect(play([rule], frames([...walk(300, 520, 20), ...walk(520, 300, 20)]))).toEqual([]);
  expect(play([rule], frames([...walk(300, 500, 20), ...stand(500, 20), ...walk(500, 300, 20)]))).toEqual([]);
});

test('a count fires when it exceeds its limit, and again after it was below', () => {
  const inYard = { type: 'count_over', name: 'crowd', zone: 'yard', count: 1 };
  const anywhere = { type: 'count_over', name: 'all', count: 2 };
  const gone = Array<undefined>(30).fill(undefined);
  const events = play(
    [inYard, anywhere],
    frames(
      stand(700, 80),
      [...stand(800, 20), ...gone, ...stand(800, 30)],
      [...Array<undefined>(10).fill(undefined), ...stand(200, 70)],
    ),
  );
  expect(facts(events)).toEqual([
    { type: 'count_over', ms: 500, zone: 'yard', count: 2 },
    { type: 'count_over', ms: 1100, count: 3 },
    { type: 'count_over', ms: 5100, count: 3 },
    { type: 'count_over', ms: 5600, zone: 'yard', count: 2 },
  ]);
});

test('rules apply only to their classes', () => {
  const rule = { ...entered, classes: ['car'] };
  expect(play([rule], frames(stand(700, 20)))).toEqual([]);
});

const everything = [
  entered,
  left,
  { type: 'stayed_longer', name: 'loiter', zone: 'yard', seconds: 1 },
  { type: 'line_crossed', name: 'gate', line: 'gate' },
  { type: 'count_over', name: 'crowd', zone: 'yard', count: 0 },
];

test('a scene that is restored from its state after any frame gives the same ids and events', () => {
  const config = sceneConfigSchema.parse({ zones: ZONES, lines: LINES, events: everything });
  const list = frames([...walk(300, 700, 15), ...stand(700, 15), ...walk(700, 300, 15), ...stand(300, 8)]);
  const whole = new Scene('cam', config, { prefix: 'annotated' });
  const expected = list.map((frame) => whole.update(frame));
  expect(expected.flatMap(({ events }) => events)).toHaveLength(6);
  let state: string | undefined;
  const restarted = list.map((frame) => {
    const scene = new Scene('cam', config, { prefix: 'annotated', state });
    const understood = scene.update(frame);
    state = scene.state;
    return understood;
  });
  expect(restarted).toEqual(expected);
});

test('frames that come twice or late give no additional events', () => {
  const list = frames([...walk(300, 700, 15), ...stand(700, 15)]);
  const doubled = list.flatMap((frame, index) => [frame, frame, list[Math.max(0, index - 3)] ?? frame]);
  expect(play(everything, doubled)).toEqual(play(everything, list));
});

test.each(['', 'null', '{"version":2}', '{"version":1,"tracker":{"at":"x","tracks":[]}}'])(
  'an invalid state (%j) counts as no state',
  (state) => {
    const config = sceneConfigSchema.parse({ zones: ZONES, events: [entered] });
    const fresh = new Scene('cam', config, { prefix: 'annotated' });
    expect(new Scene('cam', config, { prefix: 'annotated', state }).state).toBe(fresh.state);
  },
);

test('a scene without tracks and events has no state', () => {
  const scene = new Scene('cam', sceneConfigSchema.parse({ filters: { classes: ['car'] } }), {
    prefix: 'annotated',
  });
  expect(scene.update(frames(stand(1, 1))[0] as ReturnType<typeof frames>[number])).toEqual({
    detections: [],
    removed: { class: 1 },
    events: [],
  });
  expect(scene.state).toBeUndefined();
});

test.each(['constructor', 'toString', '__proto__'])(
  'a track named %s in a forged state is handled like any other',
  (id) => {
    const config = sceneConfigSchema.parse({ zones: ZONES, lines: LINES, events: [entered, left] });
    const path = stand(700, 20);
    const begun = new Scene('cam', config, { prefix: 'annotated' });
    for (const frame of frames(path).slice(0, 10)) begun.update(frame);
    const own = begun.update(frames(path)[10] as never).detections[0]?.track_id ?? '';
    const text = inflateRawSync(Buffer.from(begun.state ?? '', 'base64')).toString();
    const forged = deflateRawSync(text.replaceAll(JSON.stringify(own), JSON.stringify(id))).toString(
      'base64',
    );
    const scene = new Scene('cam', config, { prefix: 'annotated', state: forged });
    const seen = frames(path)
      .slice(11)
      .map((frame) => scene.update(frame).detections[0]?.track_id);
    expect(new Set(seen)).toEqual(new Set([id]));
    expect([Object.keys(Object), Object.keys(Object.prototype)]).toEqual([[], []]);
  },
);

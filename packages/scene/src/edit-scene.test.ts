import { describe, expect, test } from 'vitest';
import { putShape, removeShape, type Shape } from './edit-scene.ts';
import { parseScenes, StreamsError } from './streams.ts';

const file = `# The cameras of the house.
- id: yard # south
  url: rtsp://admin:secret@cam/1

  # What matters there.
  scene:
    zones:
      lawn: { polygon: [[0, 0], [1, 0], [1, 1]], membership: overlap } # wet in spring
    events:
      - { type: entered_zone, name: intruder, zone: lawn }
- id: door
  url: rtsp://cam/2
`;
const square = [
  [0.1, 0.1],
  [0.9, 0.1],
  [0.9, 0.9],
  [0.1, 0.9],
];
const put = (text: string, stream: string, name: string, polygon: unknown = square, events = false) =>
  putShape(text, stream, { kind: 'zone', name, polygon, events }, 'streams.yaml');

test('a zone is added, and the rest of the file is unchanged, with its comments', () => {
  const written = put(file, 'yard', 'gate');
  const added = '      gate:\n        polygon: [[0.1, 0.1], [0.9, 0.1], [0.9, 0.9], [0.1, 0.9]]\n    events:';
  const tidied = file.replaceAll('{ ', '{').replaceAll(' }', '}');
  expect(written).toBe(tidied.replace('    events:', added));
});

test('an existing zone gets the new polygon and keeps its other fields', () => {
  const scene = parseScenes(put(file, 'yard', 'lawn'), '').get('yard');
  expect(scene?.zones.lawn).toMatchObject({ polygon: square, membership: 'overlap' });
});

test('a stream without a scene gets one, with event rules for the zone, once', () => {
  const once = put(file, 'door', 'porch', square, true);
  expect(parseScenes(once, '').get('door')).toMatchObject({
    zones: { porch: { polygon: square } },
    events: [
      { type: 'entered_zone', name: 'porch-entered', zone: 'porch' },
      { type: 'left_zone', name: 'porch-left', zone: 'porch' },
    ],
  });
  expect(put(once, 'door', 'porch', square, true)).toBe(once);
  const rules = parseScenes(put(file, 'yard', 'lawn', square, true), '').get('yard')?.events;
  expect(rules?.map(({ name }) => name)).toEqual(['intruder', 'lawn-left']);
});

const set = (text: string, shape: object) =>
  putShape(
    text,
    'yard',
    { kind: 'zone', name: 'lawn', polygon: square, events: true, ...shape } as Shape,
    'streams.yaml',
  );
const sceneOf = (text: string) => parseScenes(text, '').get('yard');

test('a zone is renamed everywhere in the scene', () => {
  const used = file.replace('scene:', 'scene:\n    filters: { include: [lawn] }');
  const written = put(set(used, {}), 'yard', 'roof');
  const scene = sceneOf(set(written, { name: 'grass', was: 'lawn' }));
  expect(Object.keys(scene?.zones ?? {})).toEqual(['grass', 'roof']);
  expect(scene?.zones.grass?.membership).toBe('overlap');
  expect(scene?.filters.include).toEqual(['grass']);
  expect(scene?.events).toMatchObject([
    { name: 'intruder', zone: 'grass' },
    { name: 'grass-left', zone: 'grass' },
  ]);
  expect(() => set(written, { name: 'roof', was: 'lawn' })).toThrow("there is a zone 'roof' already");
  expect(() => set(written, { name: 'grass', was: 'nothing' })).toThrow("there is no zone 'nothing'");
});

test('classes, seconds, count and exclude of a zone are set, changed and removed', () => {
  const all = { classes: ['person', 'car'], seconds: 30, count: 2, exclude: true };
  const written = set(file, all);
  const scene = sceneOf(written);
  expect(scene?.events).toMatchObject([
    { type: 'entered_zone', name: 'intruder', classes: all.classes },
    { type: 'left_zone', classes: all.classes },
    { type: 'stayed_longer', name: 'lawn-stays', seconds: 30, classes: all.classes },
    { type: 'count_over', name: 'lawn-count', count: 2, classes: all.classes },
  ]);
  expect(scene?.filters.exclude).toEqual(['lawn']);
  expect(set(written, all)).toBe(written);
  const less = sceneOf(set(written, { events: false, classes: [], seconds: 5, count: null, exclude: false }));
  expect(less?.events).toEqual([{ type: 'stayed_longer', name: 'lawn-stays', zone: 'lawn', seconds: 5 }]);
  expect(less?.filters.exclude).toEqual([]);
  expect(() => set(file, { seconds: -1 })).toThrow("'scene.events.2.seconds'");
});

test('a line has a rule for one direction', () => {
  const line = { kind: 'line', name: 'gate', from: [0, 0], to: [1, 1], classes: [], polygon: undefined };
  const { polygon: _, ...drawn } = { ...line, events: true, direction: 'left' };
  const written = putShape(file, 'yard', drawn as unknown as Shape, '');
  expect(sceneOf(written)?.events.at(-1)).toMatchObject({
    type: 'line_crossed',
    name: 'gate-crossed',
    direction: 'left',
  });
});

test('JSON remains JSON', () => {
  const streams = [{ id: 'yard', url: 'rtsp://cam/1' }];
  const written = JSON.parse(put(JSON.stringify(streams), 'yard', 'gate'));
  expect(written).toEqual([{ ...streams[0], scene: { zones: { gate: { polygon: square } } } }]);
});

test('a scene shared by an alias is changed for all its streams', () => {
  const shared = file.replace('scene:', 'scene: &common').concat('  scene: *common\n');
  const scenes = parseScenes(put(shared, 'door', 'gate'), '');
  expect(Object.keys(scenes.get('yard')?.zones ?? {})).toEqual(['lawn', 'gate']);
});

test.each<[string, string, unknown, string]>([
  ['roof', 'gate', square, "there is no stream 'roof'"],
  ['yard', 'a b', square, "line 9: 'scene.zones.a b' "],
  ['yard', '__proto__', square, "'__proto__' can't name a zone"],
  ['yard', 'gate', square.slice(0, 2), "line 10: 'scene.zones.gate.polygon' has 2 points; a polygon needs 3"],
  ['yard', 'gate', [...square, [2, 2]], "'scene.zones.gate.polygon.4.0' "],
  ['yard', 'gate', 'everything', "line 10: 'scene.zones.gate.polygon' is invalid"],
  [
    'yard',
    'gate',
    [
      [0, 0],
      [1, 1],
      [1, 0],
      [0, 1],
    ],
    'crosses itself',
  ],
])('on stream %s, a zone %s with the polygon %j is rejected: %s', (stream, name, polygon, message) => {
  expect(() => put(file, stream, name, polygon)).toThrow(StreamsError);
  expect(() => put(file, stream, name, polygon)).toThrow(message);
});

test('an error that is in the list already is reported with its line', () => {
  expect(() => put(file.replace('zone: lawn', 'zone: lwan'), 'door', 'gate')).toThrow(
    "streams.yaml: line 10: 'scene.events.0.zone' names 'lwan'",
  );
});

describe('a drawn line', () => {
  const yards = `- id: yard
  scene:
    lines:
      gate: { from: [0.5, 1], to: [0.5, 0], debounce_seconds: 2 }
    events:
      - { type: line_crossed, name: came-in, line: gate, direction: left }
`;
  const line = (name: string, from: unknown, to: unknown): Shape => ({
    kind: 'line',
    name,
    from,
    to,
    events: true,
  });
  const draw = (shape: Shape) => putShape(yards, 'yard', shape, 'streams.yaml');

  test('is added with a rule for crossings', () => {
    const scene = parseScenes(draw(line('road', [0, 0.5], [1, 0.5])), '').get('yard');
    expect(scene?.lines.road).toMatchObject({ from: [0, 0.5], to: [1, 0.5] });
    expect(scene?.events[1]).toEqual({
      type: 'line_crossed',
      name: 'road-crossed',
      line: 'road',
      direction: 'any',
    });
  });

  test('that exists gets its new ends, and keeps its other fields and its rule', () => {
    const scene = parseScenes(draw(line('gate', [0.2, 1], [0.2, 0])), '').get('yard');
    expect(scene?.lines.gate).toEqual({ from: [0.2, 1], to: [0.2, 0], debounce_seconds: 2, hysteresis: 0.1 });
    expect(scene?.events.map(({ name }) => name)).toEqual(['came-in']);
  });

  test.each<[Shape, string]>([
    [line('road', [0, 0.5], [0, 0.5]), "'scene.lines.road.to' has no length"],
    [line('road', [0, 0.5], [2, 0.5]), "'scene.lines.road.to.0' "],
    [line('road', [0, 0.5], undefined), "line 7: 'scene.lines.road.to' is invalid"],
    [{ ...line('__proto__', [0, 0], [1, 1]), events: false }, "'__proto__' can't name a line"],
  ])('%j is rejected: %s', (shape, message) => {
    expect(() => draw(shape)).toThrow(StreamsError);
    expect(() => draw(shape)).toThrow(message);
  });
});

describe('removing', () => {
  const full = `- id: yard
  scene:
    zones:
      lawn: { polygon: [[0, 0], [1, 0], [1, 1]] } # wet in spring
      1: { polygon: [[0, 0], [1, 0], [1, 1]] }
    lines: { lawn: { from: [0, 0], to: [1, 1] } }
    events:
      - { type: entered_zone, name: intruder, zone: lawn }
      - { type: line_crossed, name: over, line: lawn }
      - { type: count_over, name: crowd, zone: lawn, count: 3 }
      - { type: count_over, name: many, count: 9 }
`;
  const remove = (text: string, kind: Shape['kind'], name: string, stream = 'yard') =>
    removeShape(text, stream, { kind, name }, 'streams.yaml');

  test('a zone removes its rules, and leaves all else', () => {
    const scene = parseScenes(remove(full, 'zone', 'lawn'), '').get('yard');
    expect(Object.keys(scene?.zones ?? {})).toEqual(['1']);
    expect(Object.keys(scene?.lines ?? {})).toEqual(['lawn']);
    expect(scene?.events.map(({ name }) => name)).toEqual(['over', 'many']);
  });

  test('a line removes only its rules', () => {
    const scene = parseScenes(remove(full, 'line', 'lawn'), '').get('yard');
    expect(scene?.lines).toEqual({});
    expect(scene?.events.map(({ name }) => name)).toEqual(['intruder', 'crowd', 'many']);
  });

  test('a zone whose name is a number works', () => {
    expect(remove(full, 'zone', '1')).not.toMatch(/^ +1:/m);
    expect(Object.keys(parseScenes(put(full, 'yard', '1'), '').get('yard')?.zones ?? {})).toHaveLength(2);
  });

  test('removing an added shape restores the list', () => {
    const before = JSON.stringify([{ id: 'yard', scene: { zones: {}, events: [] } }]);
    const after = remove(put(before, 'yard', 'gate', square, true), 'zone', 'gate');
    expect(JSON.parse(after)).toEqual(JSON.parse(before));
  });

  test.each<[string, Shape['kind'], string, string, string]>([
    ['an unknown zone', 'zone', 'pond', full, "stream 'yard' has no zone 'pond'"],
    [
      'a zone that a filter refers to',
      'zone',
      'lawn',
      full.replace('zones:', 'filters: { exclude: [lawn] }\n    zones:'),
      "line 3: 'scene.filters.exclude.0' names 'lawn', which is not under zones",
    ],
    [
      'a zone of a scene shared by streams',
      'zone',
      'lawn',
      `${full.replace('lawn: {', 'lawn: &lawn {')}- { id: door, scene: { zones: { mat: *lawn } } }\n`,
      'other streams share this by an alias',
    ],
  ])('%s is rejected', (_what, kind, name, text, message) => {
    expect(() => remove(text, kind, name)).toThrow(StreamsError);
    expect(() => remove(text, kind, name)).toThrow(message);
  });

  test('from an unknown stream is rejected', () => {
    expect(() => remove(full, 'line', 'lawn', 'roof')).toThrow("there is no stream 'roof'");
  });
});

import { expect, test } from 'vitest';
import { putZone } from './put-zone.ts';
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
  putZone(text, stream, { name, polygon, events }, 'streams.yaml');

test('a zone is added, and nothing else changes, comments included', () => {
  const written = put(file, 'yard', 'gate');
  const added = '      gate:\n        polygon: [[0.1, 0.1], [0.9, 0.1], [0.9, 0.9], [0.1, 0.9]]\n    events:';
  const tidied = file.replaceAll('{ ', '{').replaceAll(' }', '}');
  expect(written).toBe(tidied.replace('    events:', added));
});

test('a zone that is there gets the new polygon and keeps its other fields', () => {
  const scene = parseScenes(put(file, 'yard', 'lawn'), '').get('yard');
  expect(scene?.zones.lawn).toMatchObject({ polygon: square, membership: 'overlap' });
});

test('a stream without a scene gets one, with rules that tell of the zone, once', () => {
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

test('JSON stays JSON', () => {
  const streams = [{ id: 'yard', url: 'rtsp://cam/1' }];
  const written = JSON.parse(put(JSON.stringify(streams), 'yard', 'gate'));
  expect(written).toEqual([{ ...streams[0], scene: { zones: { gate: { polygon: square } } } }]);
});

test('a scene that streams share is changed for all of them', () => {
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
])('of stream %s a zone %s with the polygon %j is refused: %s', (stream, name, polygon, message) => {
  expect(() => put(file, stream, name, polygon)).toThrow(StreamsError);
  expect(() => put(file, stream, name, polygon)).toThrow(message);
});

test('what is wrong in the list already is told as it stands there', () => {
  expect(() => put(file.replace('zone: lawn', 'zone: lwan'), 'door', 'gate')).toThrow(
    "streams.yaml: line 10: 'scene.events.0.zone' names 'lwan'",
  );
});

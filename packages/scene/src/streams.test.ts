import { expect, test } from 'vitest';
import { parseScenes, readScenes } from './streams.ts';

const file = `- id: yard
  url: rtsp://admin:secret@cam/1
  scene:
    zones:
      lawn:
        polygon: [[0, 0], [1, 0], [1, 1]]
    events:
      - type: entered_zone
        name: intruder
        zone: lawn
- id: door
  url: rtsp://cam/2
`;

test('scenes are read from the list of streams, with defaults filled in', () => {
  const scenes = parseScenes(file, 'streams.yaml');
  expect([...scenes.keys()]).toEqual(['yard']);
  expect(scenes.get('yard')?.zones.lawn).toMatchObject({
    membership: 'bottom_centre',
    debounce_seconds: 0.5,
  });
  expect(parseScenes(JSON.stringify([{ id: 'yard', scene: {} }]), 'STREAMS').get('yard')?.events).toEqual([]);
});

test.each([
  ['[1, 1]]', '[1, 1], [0, 0]]', "line 6: 'scene.zones.lawn.polygon' repeats point 1 as point 4"],
  ['[[0, 0]', '[[0, 2]', "line 6: 'scene.zones.lawn.polygon.0.1' "],
  ['zone: lawn', 'zone: lwan', "line 10: 'scene.events.0.zone' names 'lwan', which is not under zones"],
  ['type: entered_zone', 'type: entered', "line 8: 'scene.events.0.type' "],
  ['polygon:', 'polygons:', "line 5: 'scene.zones.lawn.polygon' "],
  ['    zones:', '    zone:', "line 4: 'scene' Unrecognized key"],
  ['id: door', 'id: yard', "line 11: id 'yard' is there twice"],
  ['- id: door', '- ident: door', "line 11: 'id' is invalid"],
  ['    events:', '   events:', 'not YAML'],
])('%j replaced by %j is rejected with line and field', (right, wrong, message) => {
  const text = file.replace(right, wrong);
  expect(() => parseScenes(text, 'streams.yaml')).toThrow(
    `streams.yaml: ${message.startsWith('line') ? message : ''}`,
  );
  expect(() => parseScenes(text, 'streams.yaml')).toThrow(message);
  expect(() => parseScenes(text, 'streams.yaml')).toThrow(
    expect.not.objectContaining({ message: expect.stringContaining('secret') }),
  );
});

test('a byte order mark and merge keys are read', () => {
  const merged = `- &yard\n  id: yard\n  scene: {zones: {lawn: {polygon: [[0, 0], [1, 0], [1, 1]]}}}\n- <<: *yard\n  id: door\n`;
  const scenes = parseScenes(`\uFEFF${merged}`, 'streams.yaml');
  expect([...scenes.keys()]).toEqual(['yard', 'door']);
  expect(scenes.get('door')).toEqual(scenes.get('yard'));
  expect(parseScenes(`\uFEFF${JSON.stringify([{ id: 'yard', scene: {} }])}`, 'STREAMS').size).toBe(1);
});

test('an error in one stream does not affect the others', () => {
  const { scenes, problems } = readScenes(`${file}- id: gate\n  scene: 5\n- id: door\n`, 'streams.yaml');
  expect([...scenes.keys()]).toEqual(['yard', 'door']);
  expect(problems).toEqual([
    { id: 'gate', text: expect.stringContaining("line 14: 'scene' is invalid") },
    { id: 'door', text: "line 15: id 'door' is there twice" },
  ]);
});

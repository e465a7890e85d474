import { expect, test } from 'vitest';
import { parseScenes } from './streams.ts';

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

test('scenes are read out of the list of streams, with defaults filled in', () => {
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
])('%j as %j is refused with its line and field', (right, wrong, message) => {
  const text = file.replace(right, wrong);
  expect(() => parseScenes(text, 'streams.yaml')).toThrow(
    `streams.yaml: ${message.startsWith('line') ? message : ''}`,
  );
  expect(() => parseScenes(text, 'streams.yaml')).toThrow(message);
  expect(() => parseScenes(text, 'streams.yaml')).toThrow(
    expect.not.objectContaining({ message: expect.stringContaining('secret') }),
  );
});

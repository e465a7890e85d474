import { afterEach, expect, test, vi } from 'vitest';
import { parseStreams } from './streams.ts';

const defaults = { frameRate: 10, quality: 85 };
afterEach(() => vi.unstubAllEnvs());
const parse = (text: string) => parseStreams(text, defaults, 'streams.yaml').specs;

test('YAML and JSON give the same streams, with defaults filled in', () => {
  const yaml =
    '- id: yard\n  url: rtsp://cam/1\n- id: door\n  url: a.mp4?loop\n  frame_rate: 2\n  transport: udp\n';
  const json =
    '[{"id":"yard","url":"rtsp://cam/1"},{"id":"door","url":"a.mp4?loop","frame_rate":2,"transport":"udp"}]';
  const expected = [
    { id: 'yard', url: 'rtsp://cam/1', frameRate: 10, quality: 85, transport: 'tcp' },
    { id: 'door', url: 'a.mp4?loop', frameRate: 2, quality: 85, transport: 'udp' },
  ];
  expect(parse(yaml)).toEqual(expected);
  expect(parse(json)).toEqual(expected);
});

test('region, max_width, active hours and motion threshold of a camera are read', () => {
  const yaml = `- id: yard
  url: rtsp://cam/1
  region: [0, 0.25, 0.5, 1]
  max_width: 640
  active_hours: 22:00-06:00
  time_zone: Europe/Paris
  motion_threshold: 0.02
`;
  expect(parse(yaml)).toMatchObject([
    {
      region: [0, 0.25, 0.5, 1],
      maxWidth: 640,
      activeHours: { span: '22:00-06:00', timeZone: 'Europe/Paris' },
      motion: { threshold: 0.02, keepaliveSeconds: 10 },
    },
  ]);
  const gated = { ...defaults, motion: { threshold: 0.01, keepaliveSeconds: 60 } };
  const [all, none] = parseStreams(
    '[{id: a, url: x}, {id: b, url: x, motion_threshold: 0}]',
    gated,
    'STREAMS',
  ).specs;
  expect([all?.motion, none?.motion]).toEqual([gated.motion, undefined]);
});

test('variables in URLs are replaced and encoded; an unset one is an error that shows no other value', () => {
  vi.stubEnv('YARD_PASSWORD', 'p@ss/w:rd');
  vi.stubEnv('GATE_URL', 'rtsp://gate:a%40b@cam/2');
  const [yard, gate] = parse(
    `- {id: yard, url: "rtsp://admin:\${YARD_PASSWORD}@cam/1"}\n- {id: gate, url: "\${GATE_URL}"}`,
  );
  expect(yard?.url).toBe('rtsp://admin:p%40ss%2Fw%3Ard@cam/1');
  expect(gate?.url).toBe('rtsp://gate:a%40b@cam/2');
  const list = `- id: yard\n  url: rtsp://\${YARD_PASSWORD}:\${DOOR_PASSWORD}@cam/1\n`;
  expect(() => parse(list)).toThrow(
    "streams.yaml: line 2: 'url' needs the variable DOOR_PASSWORD, which is not set",
  );
  expect(() => parse(list)).not.toThrow(/p@ss|p%40ss/);
});

test.each([
  ['- id: yard\n  url: x\n  region: [0.5, 0, 0.5, 1]\n', "line 3: 'region' must be [x1, y1, x2, y2]"],
  ['- id: yard\n  url: x\n  active_hours: 8-18\n', "line 3: 'active_hours' must be HH:MM-HH:MM"],
  ['- id: yard\n  url: x\n  time_zone: Nowhere\n', "line 3: 'time_zone' must be a time zone"],
  ['- id: yard\n  url: x\n  max_width: 0\n', "line 3: 'max_width' "],
  [
    '- id: yard\n  url: x\n  file_start: 1970-01-01T00:00:09Z\n',
    "line 3: 'file_start' must be from 2000 to a day from now",
  ],
  ['- id: "a b"\n  url: y\n', "streams.yaml: line 1: 'id' must be letters"],
  ['- id: yard\n', "streams.yaml: line 1: 'url' is invalid"],
  ['- id: yard\n  url: file://yard.mp4?loop\n', "line 2: 'url' must be file:///folder/name"],
  ['- id: yard\n  url: x\n  fallback: [file:///a%2Fb]\n', "line 3: 'fallback.0' must be file:///folder/name"],
  ['- id: yard\n  url: x\n  frame_rate: 0\n', "line 3: 'frame_rate' "],
  ['- id: yard\n  url: x\n  colour: red\n', 'line 3: Unrecognized key: "colour"'],
  ['- id: yard\n  url: x\n  scene:\n    filters:\n      min_area: 2\n', "line 5: 'scene.filters.min_area' "],
  ['- id: [\n', 'line 2: not YAML'],
  ['yard: rtsp://cam/1\n', 'must be a list of streams'],
  ['- yard\n', 'line 1: is invalid'],
])('%j is rejected with its line and field', (text, message) => {
  expect(() => parse(text)).toThrow(message);
});

test.each([
  ['id: "a b"', 'a b', "'id' must be letters"],
  ['id: roof', 'roof', "'url' is invalid"],
  ['url: rtsp://admin:secret@cam/2', undefined, "'id' is invalid"],
  ['id: yard\n  url: z', 'yard', "id 'yard' is there twice"],
])('an error in the stream %j is named, and the other streams are read', (wrong, id, message) => {
  const text = `- id: yard\n  url: x\n- ${wrong}\n- id: door\n  url: y\n`;
  const { specs, problems } = parseStreams(text, defaults, 'streams.yaml');
  expect(specs.map((spec) => [spec.id, spec.url])).toEqual([
    ['yard', 'x'],
    ['door', 'y'],
  ]);
  expect(problems.every((problem) => problem.id === id)).toBe(true);
  expect(problems[0]?.text).toContain(`streams.yaml: line 3: ${message}`);
  expect(JSON.stringify(problems)).not.toContain('secret');
});

test('streams whose frame rate is too low for tracks or events are named', () => {
  const list = [
    { id: 'slow', url: 'x', frame_rate: 0.45, scene: { tracks: {} } },
    { id: 'fast', url: 'x', frame_rate: 5, scene: { tracks: {} } },
    { id: 'plain', url: 'x', frame_rate: 0.45, scene: { filters: {} } },
    { id: 'off', url: 'x', frame_rate: 0.45, disabled: true, scene: { tracks: {} } },
  ];
  expect(parseStreams(JSON.stringify(list), defaults, 'streams.yaml').lowRates).toEqual({ slow: 0.45 });
});

test('errors of the list of streams never show a URL', () => {
  const text = '- id: yard\n  url: [rtsp://admin:secret@cam/1]\n- id: rtsp://admin:secret@cam/2\n  url: x\n';
  expect(() => parse(text)).toThrow(
    expect.not.objectContaining({ message: expect.stringContaining('secret') }),
  );
});

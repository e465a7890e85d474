import { expect, test } from 'vitest';
import { putCamera, readCameras, removeCamera, setDisabled } from './edit-streams.ts';
import { StreamsError } from './streams.ts';

const LIST = `# The cameras.
- id: yard # south
  url: rtsp://admin:secret@cam/1
  motion_threshold: 0.1
  scene: {zones: {}}
- {id: gate, url: rtsp://cam/2}
`;
const put = (draft: unknown, text = LIST) => putCamera(text, draft, 'streams.yaml');

test('a camera is added at the end, and all else is unchanged', () => {
  const text = put({ id: 'roof', url: 'rtsp://cam/3', frame_rate: 5, transport: 'udp' });
  expect(text).toBe(`${LIST}- id: roof\n  url: rtsp://cam/3\n  frame_rate: 5\n  transport: udp\n`);
  expect(readCameras(text, '').at(-1)).toMatchObject({ id: 'roof', frame_rate: 5 });
});

test('changing a camera keeps its scene, its comments and all other fields', () => {
  const text = put({ id: 'yard', url: 'rtsp://cam/9' });
  expect(text).toBe(LIST.replace('rtsp://admin:secret@cam/1', 'rtsp://cam/9'));
});

test.each(['', '# none yet\n', '[ ] # none yet\n', '# none yet\n[]\n'])(
  'the first camera is added to the empty list %j',
  (empty) => {
    const text = put({ id: 'roof', url: 'clip.mp4' }, empty);
    expect(readCameras(text, '')).toMatchObject([{ id: 'roof', url: 'clip.mp4' }]);
    expect(text).toContain('- id: roof\n  url: clip.mp4\n');
    expect(readCameras(removeCamera(text, 'roof', ''), '')).toEqual([]);
  },
);

test('JSON remains JSON', () => {
  const text = put({ id: 'roof', url: 'rtsp://cam/3' }, '[{"id": "yard", "url": "a"}]');
  expect(JSON.parse(text)).toEqual([
    { id: 'yard', url: 'a' },
    { id: 'roof', url: 'rtsp://cam/3' },
  ]);
});

test('a camera is disabled, enabled and removed', () => {
  const disabled = setDisabled(LIST, 'gate', true, '');
  expect(readCameras(disabled, '')[1]?.disabled).toBe(true);
  expect(setDisabled(disabled, 'gate', false, '')).toBe(LIST);
  expect(removeCamera(LIST, 'yard', '')).toContain('- {id: gate, url: rtsp://cam/2}');
  expect(readCameras(removeCamera(LIST, 'yard', ''), '')).toHaveLength(1);
  expect(() => removeCamera(LIST, 'nobody', 'streams.yaml')).toThrow(
    "streams.yaml: there is no stream 'nobody'",
  );
});

test.each([
  [{ id: '../x', url: 'a' }, "'id' must be letters"],
  [{ id: 'roof', url: '' }, "'url' must not be empty"],
  [{ id: 'roof', url: 'file:///etc/secret-7' }, "'url' must be a path, or a URL of rtsp"],
  [{ id: 'roof', url: 'rtsp://u:secret-7@:bad:/' }, "'url' must be a path, or a URL of rtsp"],
  [{ id: 'roof', url: 'a', frame_rate: 0 }, "'frame_rate' "],
  [{ id: 'roof', url: 'a', transport: 'carrier pigeon' }, "'transport' "],
  [{ id: 'roof', url: 'a', scene: {} }, 'Unrecognized key'],
  [null, "the camera can't be saved"],
])('%j is rejected with its field, and without its value', (draft, told) => {
  expect(() => put(draft)).toThrow(StreamsError);
  expect(() => put(draft)).toThrow(told);
  expect(() => put(draft)).not.toThrow('secret-7');
});

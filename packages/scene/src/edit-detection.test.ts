import { expect, test } from 'vitest';
import { putDetection } from './edit-detection.ts';
import { parseScenes } from './streams.ts';

const LIST = `# my cameras
- id: door
  url: rtsp://cam/1 # new in May
- id: yard
  scene:
    filters: {min_area: 0.1, classes: [cat]} # no birds
`;
const put = (streamId: string, draft: object) => putDetection(LIST, streamId, draft, 'list');

test('detection settings are written into the list, and the rest of it is unchanged', () => {
  const text = put('door', { model: 'yard-v2', classes: ['person', 'car'], min_confidence: 0.6 });
  expect(parseScenes(text, 'list').get('door')).toMatchObject({
    model: 'yard-v2',
    filters: { classes: ['person', 'car'], min_confidence: 0.6 },
  });
  expect(text).toContain('# new in May');
  expect(text).toContain('# no birds');
  expect(parseScenes(text, 'list').get('yard')?.filters.classes).toEqual(['cat']);
});

test('omitted fields stay, and null removes a field', () => {
  const kept = parseScenes(put('yard', { min_confidence: 0.3 }), 'list').get('yard');
  expect(kept?.filters).toMatchObject({ min_area: 0.1, classes: ['cat'], min_confidence: 0.3 });
  const all = parseScenes(put('yard', { classes: null, model: null }), 'list').get('yard');
  expect(all?.filters.classes).toBeUndefined();
  expect(put('door', { classes: null })).toContain('scene: {}');
});

test.each([
  ['door', { min_confidence: 3 }, /min_confidence/],
  ['door', { classes: [] }, /classes/],
  ['door', { classes: 'person' }, /classes/],
  ['door', { model: '' }, /model/],
  ['door', { model: { toString: 1 } }, /model/],
  ['nobody', { model: 'm' }, /no stream 'nobody'/],
])('for stream %s, %j is rejected', (streamId, draft, reason) => {
  expect(() => put(streamId, draft)).toThrow(reason);
});

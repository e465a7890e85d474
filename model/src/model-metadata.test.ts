import { expect, test } from 'vitest';
import { readMetadata } from './model-metadata.ts';

const properties = (texts: Record<string, string>) =>
  Object.entries(texts).map(([key, value]) => ({ key, value }));

test('metadata written by Ultralytics is read', () => {
  const metadata = readMetadata(
    properties({
      task: 'detect',
      stride: '32',
      imgsz: '[384, 640]',
      names: `{0: 'person', 1: "driver's seat", 2: 'it\\'s', 3: 'traffic light'}`,
      author: 'Ultralytics',
    }),
  );
  expect(metadata).toEqual({
    task: 'detect',
    stride: 32,
    imgsz: [384, 640],
    names: ['person', "driver's seat", "it's", 'traffic light'],
  });
});

test('missing or invalid metadata is ignored, and a class without a name gets one', () => {
  expect(readMetadata(properties({ stride: 'x', imgsz: '[]', iou: '7', names: '{}' }))).toEqual({});
  expect(readMetadata(properties({ names: "{1: 'b', 3: 'd'}" })).names).toEqual([
    'class 0',
    'b',
    'class 2',
    'd',
  ]);
  expect(readMetadata(properties({ names: "['', 'b']" })).names).toEqual(['class 0', 'b']);
});

test('class indexes and image sizes that are far too large are ignored', () => {
  const { names } = readMetadata(properties({ names: "{0: 'a', 4000000000: 'b', 50000: 'c', 2: 'd'}" }));
  expect(names).toEqual(['a', 'class 1', 'd']);
  expect(readMetadata(properties({ imgsz: '[99999999, 99999999]', stride: '99999999' }))).toEqual({});
});

test('metadata that is far too long or out of range is ignored', () => {
  const read = (key: string, value: string) => readMetadata([{ key, value }]);
  expect(read('names', `{0: '${'a'.repeat(5_000_000)}'}`)).toEqual({});
  expect(read('names', `{0: '${'a'.repeat(1_500_000)}'}`)).toEqual({});
  expect(read('imgsz', '[1, 1]')).toEqual({});
  expect(read('stride', '1000')).toEqual({});
});

test.each([
  '0: person\n1: fire hydrant',
  '1: fire hydrant\n0: person',
  '- person\n- fire hydrant',
  'person,fire hydrant',
  'person\nfire hydrant\n',
  'person; fire hydrant',
  'person\tfire hydrant',
  "('person', 'fire hydrant')",
  `'person', "fire hydrant"`,
  '{0: person, 1: fire hydrant}',
  '[person, fire hydrant]',
])('names written as %j are read', (written) => {
  expect(readMetadata(properties({ names: written }))).toEqual({ names: ['person', 'fire hydrant'] });
});

test('names that are code are ignored', () => {
  expect(readMetadata(properties({ names: "__import__('os').system('ls', 1)" }))).toEqual({});
});

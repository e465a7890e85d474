import { expect, test } from 'vitest';
import { compare } from './quantise.ts';

const object = (class_id: number, confidence: number, x: number) => ({
  ...{ class_id, class_name: `c${class_id}`, confidence },
  bbox: [x, 0, x + 100, 50] as [number, number, number, number],
});
const picture = (...detections: ReturnType<typeof object>[]) => ({ width: 640, height: 360, detections });

test('objects are the same where class and place are; what moved, changed, came and went is counted', () => {
  const before = [picture(object(0, 0.9, 0), object(1, 0.8, 300)), picture(object(0, 0.7, 10))];
  const after = [
    picture(object(0, 0.84, 4), object(2, 0.8, 300)),
    picture(object(0, 0.7, 10), object(0, 0.6, 400)),
  ];
  const cost = compare(before, after);
  expect(cost).toMatchObject({ before: 3, after: 4, both: 2, boxes: { most: 4 } });
  expect(cost.scores.most).toBeCloseTo(0.06, 6);
});

test('a picture that could not be decoded has no objects', () => {
  expect(compare([{ error: 'no picture' }], [{ error: 'no picture' }])).toMatchObject({
    before: 0,
    after: 0,
  });
});

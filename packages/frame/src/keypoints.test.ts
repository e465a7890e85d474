import { expect, test } from 'vitest';
import { skeletonOf, surePoints } from './keypoints.ts';

const person = Array.from({ length: 17 }, (_, place): [number, number] => [place, 100 + place]);

test('a skeleton has all lines between points with enough confidence, and no others', () => {
  const lines = skeletonOf(surePoints(person)).map(([[from], [to]]) => [from, to]);
  expect(lines).toHaveLength(19);
  expect(new Set(lines.flat()).size).toBe(17);
  const points = surePoints(person.map(([x, y]) => [x, y, x === 15 ? 0.49 : 0.5]));
  expect(points[15]).toBeUndefined();
  expect(points[16]).toEqual([16, 116]);
  const left = skeletonOf(points).map(([[from], [to]]) => [from, to]);
  expect(left).toEqual(lines.filter((line) => !line.includes(15)));
  expect(left).toHaveLength(18);
});

test('keypoints that are not those of a person give no skeleton', () => {
  expect(skeletonOf(surePoints(person.slice(1)))).toEqual([]);
});

import fc from 'fast-check';
import { expect, test } from 'vitest';
import reference from '../../../test/models/reference/tasks.json' with { type: 'json' };
import { type Head, type HeadName, heads, type OutputTensor, strongest, suppress } from './index.ts';
import { outlineOf, simplify } from './outline.ts';

const { inputWidth, inputHeight, threshold, iou } = reference;
/** Outlines keep each corner. */
const exact = { scale: Number.POSITIVE_INFINITY, maxPoints: 1000 };
const expectClose = (values: readonly number[] = [], expected: readonly number[]) => {
  expect(values).toHaveLength(expected.length);
  for (const [index, value] of expected.entries()) expect(values[index]).toBeCloseTo(value, 3);
};
const sorted = (points: readonly (readonly number[])[] = []) =>
  points.toSorted(([x = 0, y = 0], [otherX = 0, otherY = 0]) => x - otherX || y - otherY);

test.each(
  reference.cases.flatMap(({ objects, ...one }) => objects.map((seen, image) => ({ ...one, image, seen }))),
)('$head decodes picture $image of a batch as Ultralytics does', ({ head: name, outputs, image, seen }) => {
  const head: Head = heads[name as HeadName];
  const tensors = outputs.map(({ data, ...rest }): OutputTensor => {
    const bytes = new Uint8Array(Buffer.from(data, 'base64'));
    return { ...rest, data: new Float32Array(bytes.buffer) };
  });
  const options = { threshold, inputWidth, inputHeight, keypoints: [2, 3] as const, ...exact };
  const keep = head.needsSuppression ? suppress : strongest;
  const kept = keep(head.decode(tensors, image, options), { iou, classAgnostic: false, maxDetections: 300 });
  const found = head.finish ? kept.flatMap((one) => head.finish?.(one, tensors, image, options) ?? []) : kept;
  expect(found).toHaveLength(seen.length);
  for (const [index, expected] of seen.entries()) {
    const one = found[index];
    expect(one?.classId).toBe(expected.classId);
    expect(one?.score).toBeCloseTo(expected.score, 5);
    expectClose(one?.box, expected.box);
    if ('polygon' in expected && head.task === 'obb')
      expectClose(one?.polygon?.flat(), expected.polygon.flat());
    else if ('polygon' in expected) expect(sorted(one?.polygon)).toEqual(sorted(expected.polygon));
    if ('keypoints' in expected) expectClose(one?.keypoints?.flat(), expected.keypoints.flat());
  }
});

const SIDE = 12;
const anyMask = fc.uint8Array({ minLength: SIDE * SIDE, maxLength: SIDE * SIDE, max: 1 });

test('the points of an outline lie on the mask, and each is joined to the next by a straight line', () => {
  fc.assert(
    fc.property(anyMask, (mask) => {
      const outline = outlineOf(mask.slice(), SIDE, SIDE);
      expect(outline.length > 0).toBe(mask.includes(1));
      for (const [index, [x, y]] of outline.entries()) {
        expect(mask[y * SIDE + x]).toBe(1);
        const [toX, toY] = outline[(index + 1) % outline.length] ?? [x, y];
        const [dx, dy] = [Math.abs(toX - x), Math.abs(toY - y)];
        expect(dx === 0 || dy === 0 || dx === dy).toBe(true);
      }
    }),
  );
});

test('a simplified outline has points of the outline in their order, at most the allowed number', () => {
  fc.assert(
    fc.property(anyMask, fc.integer({ min: 3, max: 20 }), (mask, most) => {
      const outline = outlineOf(mask, SIDE, SIDE);
      const simple = simplify(outline, 0.5, most);
      expect(simple.length).toBeLessThanOrEqual(most);
      const places = simple.map((point) => outline.indexOf(point));
      expect(places).toEqual(places.toSorted((a, b) => a - b));
      expect(places).not.toContain(-1);
    }),
  );
});

test('the outline of a disc of 200 pixels is simplified to few points, all within the tolerance', () => {
  const [side, radius] = [220, 100];
  const mask = Uint8Array.from({ length: side * side }, (_, at) =>
    Math.hypot((at % side) - side / 2, Math.floor(at / side) - side / 2) <= radius ? 1 : 0,
  );
  const outline = outlineOf(mask, side, side);
  const simple = simplify(outline, 0.5, 500);
  expect(simple.length).toBeLessThan(150);
  for (const [x, y] of outline)
    expect(Math.abs(Math.hypot(x - side / 2, y - side / 2) - radius)).toBeLessThan(1.5);
});

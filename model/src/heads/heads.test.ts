import { expect, test } from 'vitest';
import reference from '../../../test/models/reference/heads.json' with { type: 'json' };
import { type Candidate, type HeadName, heads, type OutputTensor, suppress } from './index.ts';

const { inputWidth, inputHeight, threshold, iou } = reference;

/** Floats of a tensor that test/models/reference/heads.py wrote. */
function toTensor({ name, dims, data }: { name: string; dims: number[]; data: string }): OutputTensor {
  const bytes = new Uint8Array(Buffer.from(data, 'base64'));
  return { name, dims, data: new Float32Array(bytes.buffer) };
}

function expectSame(
  actual: readonly Candidate[],
  expected: { classId: number; score: number; box: number[] }[],
) {
  const sorted = <Item extends { score: number }>(items: readonly Item[]) =>
    items.toSorted((a, b) => b.score - a.score);
  expect(actual).toHaveLength(expected.length);
  for (const [index, one] of sorted(expected).entries()) {
    const other = sorted(actual)[index];
    expect(other?.classId).toBe(one.classId);
    expect(other?.score).toBeCloseTo(one.score, 5);
    for (const [side, value] of one.box.entries()) expect(other?.box[side]).toBeCloseTo(value, 3);
  }
}

for (const { head: name, outputs, candidates, classAware, classAgnostic } of reference.cases) {
  const head = heads[name as HeadName];
  const tensors = outputs.map(toTensor);
  const options = { threshold, inputWidth, inputHeight };

  test.each([0, 1])(`${name} decodes picture %i of a batch as numpy does`, (image) => {
    expect(candidates[image]?.length).toBeGreaterThan(5);
    expectSame(head.decode(tensors, image, options), candidates[image] ?? []);
  });

  test(`${name} gives no detections with a threshold above all scores`, () => {
    expect(head.decode(tensors, 0, { ...options, threshold: 1.1 })).toEqual([]);
  });

  if (!classAware || !classAgnostic) continue;
  test(`${name} followed by suppression keeps the boxes that numpy keeps`, () => {
    const found = head.decode(tensors, 0, options);
    expect(classAgnostic.length).toBeLessThan(classAware.length);
    expect(classAware.length).toBeLessThan(found.length);
    for (const [classAgnosticOption, kept] of [
      [false, classAware],
      [true, classAgnostic],
    ] as const) {
      const suppression = { iou, classAgnostic: classAgnosticOption, maxDetections: 300 };
      expectSame(suppress(found, suppression), kept);
    }
  });
}

test.each([
  [Number.NEGATIVE_INFINITY, [0, 1, 2, 3, 4, 5, 6, 7, 8]],
  [0, [0, 1, 5, 6, 7]],
  [0.25, [1, 6, 7]],
  [0.5, [6, 7]],
])(
  'yolov8 with a threshold of %f selects scores as a comparison of floats does, and never NaN',
  (threshold, places) => {
    const scores = [
      0.1,
      0.25,
      -0.5,
      -0.1,
      -1e-30,
      0,
      0.5,
      1,
      Number.NEGATIVE_INFINITY,
      Number.NaN,
      -Number.NaN,
    ];
    const data = Float32Array.from([...Array(4 * scores.length).fill(1), ...scores]);
    const found = heads.yolov8.decode([{ name: 'o', dims: [1, 5, scores.length], data }], 0, {
      threshold,
      inputWidth,
      inputHeight,
    });
    expect(found.map(({ score }) => score)).toEqual(places.map((at) => Math.fround(scores[at] as number)));
  },
);

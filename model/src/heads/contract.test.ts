import { describe, expect, test } from 'vitest';
import { randomOf } from '../../../test/support/random.ts';
import { type HeadName, heads, isSound, type OutputTensor, suppress } from './index.ts';

// What every family promises, whatever numbers a model gives: asked of each row of the table. A new one needs a line here,
// or the types do not fit.

/** Outputs of each family for two pictures, by name, where that is fixed. */
const OUTPUTS = {
  yolov8: { output0: [2, 9, 42] },
  'yolov8-rows': { output0: [2, 42, 9] },
  yolov5: { output0: [2, 42, 10] },
  yolox: { output: [2, 42, 10] },
  'yolox-decoded': { output: [2, 42, 10] },
  end2end: { output0: [2, 42, 6] },
  'yolov7-nms': { output: [42, 7] },
  deepstream: { output: [2, 42, 6] },
  rtdetr: { output0: [2, 42, 9] },
  'rtdetr-top': { output0: [2, 42, 6] },
  detr: { logits: [2, 42, 5], pred_boxes: [2, 42, 4] },
  'detr-softmax': { logits: [2, 42, 5], pred_boxes: [2, 42, 4] },
  rfdetr: { dets: [2, 42, 4], labels: [2, 42, 5] },
  'boxes-scores': { boxes: [2, 42, 4], scores: [2, 42, 5] },
  'efficient-nms': {
    ...{ num_dets: [2, 1], det_boxes: [2, 42, 4] },
    ...{ det_scores: [2, 42], det_classes: [2, 42] },
  },
  dfine: { labels: [2, 42], boxes: [2, 42, 4], scores: [2, 42] },
  mmdet: { dets: [2, 42, 5], labels: [2, 42] },
  paddle: { bbox: [42, 6], bbox_num: [1] },
  torchvision: { boxes: [42, 4], labels: [42], scores: [42] },
  'tf-detection': {
    ...{ detection_boxes: [2, 42, 4], detection_scores: [2, 42] },
    ...{ detection_classes: [2, 42], num_detections: [2] },
  },
  'yolo-nas-flat': { output: [42, 7] },
  'yolov5-segment': { output0: [2, 42, 14], output1: [2, 4, 8, 16] },
  'yolov8-segment': { output0: [2, 13, 42], output1: [2, 4, 8, 16] },
  'yolov8-pose': { output0: [2, 13, 42] },
  'end2end-pose': { output0: [2, 42, 12] },
  'yolov8-obb': { output0: [2, 10, 42] },
  'end2end-obb': { output0: [2, 42, 7] },
  classify: { output0: [2, 9] },
  'end2end-segment': { output0: [2, 42, 10], output1: [2, 4, 8, 16] },
} as const satisfies Record<HeadName, Record<string, readonly number[]>>;

const THRESHOLD = 0.3;
const options = { threshold: THRESHOLD, inputWidth: 64, inputHeight: 32, keypoints: [2, 3] } as const;
/** What a model gives that was broken by training, conversion or half precision. */
const ODD = [Number.NaN, Infinity, -Infinity, 3.4e38, -3.4e38, 1e-45, -1, 65_504, 2 ** 31];

function outputsOf(head: HeadName, seed: number): OutputTensor[] {
  const random = randomOf(seed);
  return Object.entries<readonly number[]>(OUTPUTS[head]).map(([name, dims]) => {
    const length = dims.reduce((product, side) => product * side, 1);
    const data = Float32Array.from({ length }, () =>
      random.next() < 0.1 ? (ODD[random.integer(0, ODD.length - 1)] ?? 0) : random.next() * 60 - 5,
    );
    return { name, dims, data };
  });
}

describe.each(Object.keys(heads) as HeadName[])('the head %s', (name) => {
  const head = heads[name];

  test('decodes any numbers to valid detections, and does not change its input', () => {
    for (let seed = 0; seed < 50; seed++) {
      const outputs = outputsOf(name, seed);
      const before = outputs.map(({ data }) => data.slice());
      const found = head.decode(outputs, 0, options);
      expect(found.every(({ score }) => !(score < THRESHOLD))).toBe(true);
      const kept = suppress(found.filter(isSound), { iou: 0.5, classAgnostic: false, maxDetections: 10 });
      expect(kept.length).toBeLessThanOrEqual(10);
      for (const { box, score, classId } of kept) {
        expect([...box, score].every(Number.isFinite)).toBe(true);
        expect(classId).toBeGreaterThanOrEqual(0);
      }
      expect(head.decode(outputs, 0, options)).toEqual(found);
      expect(outputs.map(({ data }) => data)).toEqual(before);
    }
  });

  const isBatched = Object.values(OUTPUTS[name]).every((dims) => dims[0] === 2);
  test.runIf(isBatched)(
    'the detections of a picture do not depend on the other pictures of its batch',
    () => {
      const [one, other] = [outputsOf(name, 1), outputsOf(name, 2)];
      const mixed = one.map((output, index) => {
        const half = output.data.length / 2;
        const data = output.data.slice();
        data.set(other[index]?.data.subarray(half) ?? [], half);
        return { ...output, data };
      });
      expect(head.decode(mixed, 0, options)).toEqual(head.decode(one, 0, options));
      expect(head.decode(mixed, 1, options)).toEqual(head.decode(other, 1, options));
    },
  );
});

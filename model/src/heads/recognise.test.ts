import { expect, test } from 'vitest';
import { recogniseHead } from './recognise.ts';

const anySize = { inputWidth: undefined, inputHeight: undefined };
const size640 = { inputWidth: 640, inputHeight: 640 };
const one = (...shape: (number | string)[]) => [{ name: 'output0', shape }];

test.each([
  ['yolov8', one('batch', 84, 'anchors'), anySize, 80],
  ['yolov8', one('batch', 'Concatoutput0_dim_1', 'anchors'), anySize, 80],
  ['yolov8', one(1, 84, 8400), size640, undefined],
  ['yolov8', one(1, 6, 8400), size640, 2],
  ['yolov5', one('batch', 'anchors', 85), anySize, 80],
  ['yolov5', one(1, 25200, 85), size640, undefined],
  ['yolov5', one(1, 25200, 6), size640, 1],
  ['yolox', one(1, 8400, 85), size640, undefined],
  ['end2end', one('batch', 300, 6), anySize, 80],
  ['end2end', one(1, 300, 6), size640, undefined],
  ['rtdetr', one(1, 300, 84), size640, 80],
  ['rtdetr', one(1, 300, 84), size640, undefined],
] as const)('%s by %o', (head, outputs, size, classes) => {
  expect(recogniseHead({ outputs, ...size, classes })).toBe(head);
});

test('the DETR family has boxes and logits', () => {
  const outputs = (logits: string, boxes: string) => [
    { name: logits, shape: ['batch', 300, 80] },
    { name: boxes, shape: ['batch', 300, 4] },
  ];
  expect(recogniseHead({ outputs: outputs('logits', 'pred_boxes'), ...anySize, classes: undefined })).toBe(
    'detr',
  );
  expect(recogniseHead({ outputs: outputs('labels', 'dets'), ...size640, classes: undefined })).toBe(
    'rfdetr',
  );
});

test.each([
  ['a classifier', one(1, 1000), undefined],
  ['three outputs', [...one(1, 84, 8400), ...one(1, 84, 8400), ...one(1, 84, 8400)], undefined],
  ['another number of classes', one(1, 84, 8400), 20],
  ['two families that fit', one(1, 300, 6), 2],
  ['anchors by grid or anchor box, their number unknown', one('batch', 'anchors', 85), undefined],
] as const)('%s is not recognised', (_name, outputs, classes) => {
  expect(recogniseHead({ outputs, ...anySize, classes })).toBeUndefined();
});

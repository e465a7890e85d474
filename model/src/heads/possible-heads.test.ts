import { expect, test } from 'vitest';
import { possibleHeads } from './possible-heads.ts';

const size640 = { inputWidth: 640, inputHeight: 640 };
const one = (...dims: number[]) => [{ name: 'output0', dims }];

test.each([
  [['yolov8'], one(1, 84, 8400), 80],
  [['yolov8'], one(1, 84, 8400), undefined],
  [['yolov8'], one(1, 6, 8400), 2],
  [['yolov8'], one(1, 1204, 8400), undefined],
  [['yolov8-rows'], one(1, 8400, 84), 80],
  [['yolov8-rows'], one(1, 8400, 84), undefined],
  [['yolov5'], one(1, 25200, 85), 80],
  [['yolov5'], one(1, 25200, 85), undefined],
  [['yolov5', 'deepstream'], one(1, 25200, 6), 1],
  [['yolov5', 'yolox', 'yolox-decoded'], one(1, 8400, 85), undefined],
  [['end2end', 'rtdetr-top'], one(1, 300, 6), 80],
  [['end2end', 'rtdetr-top', 'rtdetr'], one(1, 300, 6), 2],
  [['rtdetr'], one(1, 300, 84), 80],
  [['rtdetr'], one(1, 300, 84), undefined],
  [['rtdetr'], one(1, 300, 369), undefined],
  [['yolov7-nms', 'yolo-nas-flat'], one(5, 7), undefined],
  // At 160 pixels.
  [['yolov8'], [{ name: 'output0', dims: [1, 84, 525] }], undefined, 160],
] as const)(
  'possible heads are %j for the output %j with %s classes',
  (expected, outputs, classes, side: number = 640) => {
    expect(possibleHeads({ outputs, inputWidth: side, inputHeight: side, classes })).toEqual(expected);
  },
);

test('endToEnd in the metadata selects heads without suppression', () => {
  const facts = { outputs: one(1, 300, 6), ...size640, classes: 2, endToEnd: true };
  expect(possibleHeads(facts)).toEqual(['end2end', 'rtdetr-top']);
});

test('two outputs are recognised as boxes with logits or scores', () => {
  const outputs = (scores: string, boxes: string) => [
    { name: scores, dims: [1, 300, 80] },
    { name: boxes, dims: [1, 300, 4] },
  ];
  const possible = (scores: string, boxes: string) =>
    possibleHeads({ outputs: outputs(scores, boxes), ...size640 });
  expect(possible('logits', 'pred_boxes')).toEqual(['detr', 'detr-softmax', 'boxes-scores']);
  expect(possible('labels', 'dets')).toEqual(['rfdetr']);
});

test.each([
  ['the output of a classifier', one(1, 1000), undefined],
  ['three outputs', [...one(1, 84, 8400), ...one(1, 84, 8400), ...one(1, 84, 8400)], undefined],
  ['a list of names of another length', one(1, 84, 8400), 20],
] as const)('%s has no possible head', (_name, outputs, classes) => {
  expect(possibleHeads({ outputs, ...size640, classes })).toEqual([]);
});

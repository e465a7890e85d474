import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { type ConstantModel, type ConstantOutput, writeConstantModel } from '../test/constant-model.ts';
import { onSameThread } from '../test/same-thread.ts';
import { chooseHead } from './heads/choose-head.ts';
import { type Candidate, heads, isSound, type OutputTensor } from './heads/index.ts';
import { letterbox } from './letterbox.ts';
import { type ReadOptions, readModelFile } from './model-file.ts';
import { decodeModel, encodeModel } from './onnx/schema.ts';

vi.mock('./inference-pool.ts', async (original) => onSameThread(await original()));

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'families-'));
});
afterAll(() => rm(folder, { recursive: true }));

const SIDE = 160;
/** Cells of strides 8, 16 and 32. */
const CELLS = 525;
/** What every graph here sees: two objects, corners in pixels. */
const SEEN: Candidate[] = [
  { classId: 2, score: 0.9, box: [25, 35, 75, 85] },
  { classId: 0, score: 0.6, box: [80, 50, 105, 120] },
];
const centre = ([x1, y1, x2, y2]: Candidate['box']) => [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1];
const shares = (box: readonly number[]) => box.map((side) => side / SIDE);
const C80 = { names: JSON.stringify(Array.from({ length: 80 }, (_, id) => `c${id}`)), task: 'detect' };
const names = (count: number) => ({
  names: JSON.stringify(Array.from({ length: count }, (_, id) => `c${id}`)),
});

/** `[1, rows, columns]`, `fill` everywhere but in the rows of the objects. */
function table(
  rows: number,
  columns: number,
  rowOf: (object: Candidate) => readonly number[],
  {
    name = 'output0',
    fill = 0,
    objects = SEEN,
  }: { name?: string; fill?: number; objects?: Candidate[] } = {},
): ConstantOutput {
  const values = new Float32Array(rows * columns).fill(fill);
  for (const [index, object] of objects.entries()) values.set(rowOf(object), index * 37 * columns);
  return { name, values, dims: [1, rows, columns] };
}
function transposed({ values, dims: [, rows = 0, columns = 0], ...rest }: ConstantOutput): ConstantOutput {
  const turned = values.map((_, at) => values[(at % rows) * columns + Math.floor(at / rows)] as number);
  return { ...rest, values: turned, dims: [1, columns, rows] };
}
/** `before` columns, then one a class. */
const withClasses = (before: (object: Candidate) => readonly number[], classes: number, none = 0) => {
  return (object: Candidate) => {
    const scores = Array<number>(classes).fill(none);
    scores[object.classId] = object.score;
    return [...before(object), ...scores];
  };
};
const inCentre = ({ box }: Candidate) => centre(box);
const asListed = ({ box, score, classId }: Candidate) => [...box, score, classId];
const inShares = ({ box }: Candidate) => shares(centre(box));
const certain = (object: Candidate) => [...centre(object.box), 1];
const logit = (share: number) => Math.log(share / (1 - share));
const logits = (object: Candidate) => ({ ...object, score: logit(object.score) });

const yolov8 = transposed(table(CELLS, 84, withClasses(inCentre, 80)));
const list = (rows: number) => table(rows, 6, asListed);
const boxes = (rows: number, form: (object: Candidate) => readonly number[], name: string) =>
  table(rows, 4, form, { name });
const scores = (rows: number, name: string, fill = 0, objects = SEEN) =>
  table(
    rows,
    80,
    withClasses(() => [], 80, fill),
    { name, fill, objects },
  );

const labels = (name: string, dims = [1, 2]) => ({
  ...{ name, dims, values: Float32Array.from(SEEN.map(({ classId }) => classId)) },
});
const MASKS = 8;
const coefficients = Array<number>(MASKS).fill(-3);
const protos = {
  name: 'output1',
  values: new Float32Array(MASKS * 40 * 40).fill(7),
  dims: [1, MASKS, 40, 40],
};
const withMasks = transposed(
  table(CELLS, 84 + MASKS, (one) => [...withClasses(inCentre, 80)(one), ...coefficients]),
);
const points = [30, 40, 0.9, 50, 60, 0.2];
const withPose = transposed(table(CELLS, 90, (one) => [...withClasses(inCentre, 80)(one), ...points]));
const served: [string, string, ConstantModel, ReadOptions?][] = [
  ['YOLOv8', 'yolov8', { outputs: [yolov8], metadata: C80 }],
  ['YOLOv8 of unknown sizes', 'yolov8', { outputs: [{ ...yolov8, declared: ['a', 'b', 'c'] }] }],
  ['YOLOv8, fed bytes', 'yolov8', { outputs: [yolov8], input: { type: 'uint8' } }],
  ['YOLOv8, channels last', 'yolov8', { outputs: [yolov8], input: { shape: [1, SIDE, SIDE, 3] } }],
  ['YOLOv8, its input called frames', 'yolov8', { outputs: [yolov8], input: { name: 'frames' } }],
  ['YOLOv8 transposed', 'yolov8-rows', { outputs: [table(CELLS, 84, withClasses(inCentre, 80))] }],
  [
    'YOLOv8 of 1,200 classes',
    'yolov8',
    { outputs: [transposed(table(CELLS, 1204, withClasses(inCentre, 1200)))] },
  ],
  ['YOLOv7', 'yolov5', { outputs: [table(3 * CELLS, 85, withClasses(certain, 80))] }],
  [
    'YOLOv6',
    'yolov5',
    { outputs: [table(CELLS, 85, withClasses(certain, 80), { name: 'outputs' })], metadata: C80 },
  ],
  [
    'YOLOX, decoded',
    'yolox-decoded',
    { outputs: [table(CELLS, 85, withClasses(certain, 80), { name: 'output' })] },
  ],
  [
    'end to end, one class',
    'end2end',
    { outputs: [table(300, 6, (one) => asListed({ ...one, classId: 0 }))], metadata: names(1) },
  ],
  [
    'end to end, two classes',
    'end2end',
    {
      outputs: [table(300, 6, (one) => asListed({ ...one, classId: one.classId / 2 }))],
      metadata: { ...names(2), end2end: 'True' },
    },
  ],
  ['end to end without names', 'end2end', { outputs: [list(300)] }],
  [
    'end to end, sizes that vary',
    'end2end',
    {
      outputs: [{ ...list(300), declared: ['batch', 'anchors', 'anchors'] }],
      metadata: { ...C80, end2end: 'True' },
    },
  ],
  ['segmentation without metadata', 'yolov8-segment', { outputs: [withMasks, protos] }],
  ['pose', 'yolov8-pose', { outputs: [withPose], metadata: { ...C80, task: 'pose', kpt_shape: '[2, 3]' } }],
  [
    'pose with suppression inside',
    'end2end-pose',
    {
      outputs: [table(300, 12, (one) => [...asListed(one), ...points])],
      metadata: { ...C80, task: 'pose', kpt_shape: '(2, 3)', end2end: 'True' },
    },
  ],
  [
    'segmentation with suppression inside',
    'end2end-segment',
    {
      outputs: [protos, table(300, 6 + MASKS, (one) => [...asListed(one), ...coefficients])],
      metadata: { ...C80, task: 'segment' },
    },
  ],
  ['DeepStream-Yolo', 'deepstream', { outputs: [list(1200)] }],
  [
    'RT-DETR, the best alone',
    'rtdetr-top',
    {
      outputs: [table(300, 6, ({ box, score, classId }) => [...shares(centre(box)), score, classId])],
      metadata: C80,
    },
  ],
  ['RT-DETR', 'rtdetr', { outputs: [table(300, 84, withClasses(inShares, 80))], metadata: C80 }],
  [
    'RT-DETR of 365 classes, without names',
    'rtdetr',
    { outputs: [table(300, 369, withClasses(inShares, 365))] },
  ],
  [
    'YOLO-NAS',
    'boxes-scores',
    { outputs: [boxes(CELLS, ({ box }) => box, 'boxes'), scores(CELLS, 'scores')] },
  ],
  [
    'PP-YOLOE',
    'boxes-scores',
    { outputs: [boxes(CELLS, ({ box }) => box, 'boxes'), transposed(scores(CELLS, 'scores'))] },
  ],
  [
    'RT-DETR of Hugging Face',
    'detr',
    { outputs: [scores(300, 'logits', -8, SEEN.map(logits)), boxes(300, inShares, 'pred_boxes')] },
  ],
  [
    'RF-DETR',
    'rfdetr',
    { outputs: [boxes(300, inShares, 'dets'), scores(300, 'labels', -8, SEEN.map(logits))] },
  ],
  [
    'YOLOv7 end to end',
    'yolov7-nms',
    {
      outputs: [
        {
          name: 'output',
          values: Float32Array.from(SEEN.flatMap(({ box, score, classId }) => [0, ...box, classId, score])),
          dims: [2, 7],
          declared: ['n', 7],
        },
      ],
    },
  ],
  [
    "TensorRT's suppression",
    'efficient-nms',
    {
      outputs: [
        { name: 'num_dets', values: Float32Array.of(2), dims: [1, 1] },
        { name: 'det_boxes', values: Float32Array.from(SEEN.flatMap(({ box }) => box)), dims: [1, 2, 4] },
        { name: 'det_scores', values: Float32Array.from(SEEN.map(({ score }) => score)), dims: [1, 2] },
        { name: 'det_classes', values: Float32Array.from(SEEN.map(({ classId }) => classId)), dims: [1, 2] },
      ],
    },
  ],
  [
    "TensorRT's suppression by the names that its plugin has",
    'efficient-nms',
    {
      outputs: [
        { name: 'num_detections', values: Float32Array.of(2), dims: [1, 1] },
        {
          ...{ name: 'detection_boxes', dims: [1, 2, 4] },
          values: Float32Array.from(SEEN.flatMap(({ box }) => box)),
        },
        {
          ...{ name: 'detection_scores', dims: [1, 2] },
          values: Float32Array.from(SEEN.map(({ score }) => score)),
        },
        labels('detection_classes'),
      ],
    },
  ],
  ['a task by another name', 'yolov8', { outputs: [yolov8], metadata: { task: 'object-detection' } }],
  ['end to end, filled up with -1', 'end2end', { outputs: [table(300, 6, asListed, { fill: -1 })] }],
  [
    'YOLOv8 of which one side alone is fixed',
    'yolov8',
    { outputs: [yolov8], input: { shape: [1, 3, 'h', SIDE] } },
  ],
  [
    'D-FINE, DEIM and RT-DETR of their own projects, told the size of the picture',
    'dfine',
    {
      sizes: 'orig_target_sizes',
      outputs: [
        labels('labels'),
        {
          ...{ name: 'boxes', dims: [1, 2, 4], isScaled: true },
          values: Float32Array.from(SEEN.flatMap(({ box }) => shares(box))),
        },
        { name: 'scores', values: Float32Array.from(SEEN.map(({ score }) => score)), dims: [1, 2] },
      ],
    },
  ],
  [
    'mmdetection',
    'mmdet',
    { outputs: [table(60, 5, ({ box, score }) => [...box, score], { name: 'dets' }), spread('labels', 60)] },
    { head: 'mmdet' },
  ],
  [
    'PaddleDetection, told the scale of the picture',
    'paddle',
    {
      sizes: 'scale_factor',
      outputs: [
        {
          ...{ name: 'nms3_0.tmp_0', dims: [2, 6], declared: ['n', 6] },
          values: Float32Array.from(SEEN.flatMap(({ box, score, classId }) => [classId, score, ...box])),
        },
        { name: 'nms3_0.tmp_2', values: Float32Array.of(2), dims: [1] },
      ],
    },
    { head: 'paddle' },
  ],
  [
    'YOLOv7 with its raw maps beside',
    'yolov5',
    {
      outputs: [
        { name: '528', values: new Float32Array(3 * 4 * 85), dims: [1, 3, 2, 2, 85] },
        table(3 * CELLS, 85, withClasses(certain, 80)),
      ],
    },
  ],
  [
    'YOLOX in half precision, decoded',
    'yolox-decoded',
    { outputs: [{ ...table(CELLS, 85, withClasses(certain, 80), { name: 'output' }), type: 'float16' }] },
  ],
  [
    'RF-DETR in half precision',
    'rfdetr',
    {
      outputs: [
        { ...scores(300, 'labels', -8, SEEN.map(logits)), type: 'float16' },
        { ...boxes(300, inShares, 'dets'), type: 'float16' },
      ],
    },
  ],
  [
    'torchvision',
    'torchvision',
    {
      input: { shape: [3, SIDE, SIDE] },
      outputs: [
        { name: 'boxes', values: Float32Array.from(SEEN.flatMap(({ box }) => box)), dims: [2, 4] },
        { name: 'labels', values: Float32Array.from(SEEN.map(({ classId }) => classId)), dims: [2] },
        { name: 'scores', values: Float32Array.from(SEEN.map(({ score }) => score)), dims: [2] },
      ],
    },
  ],
];

/** An output without N: a row for each object. */
const alone = (name: string, form: (object: Candidate) => number[]): ConstantOutput => {
  const rows = SEEN.map(form);
  const columns = rows.flatMap((row) => (row.length > 1 ? [row.length] : [])).slice(1);
  return { name, values: Float32Array.from(rows.flat()), dims: [2, ...columns], declared: ['n', ...columns] };
};
const batched = ({ name, values, dims }: ConstantOutput) => ({ name, values, dims: [1, ...dims] });
const apart = (boxes: string, classes: string, scores: string) => [
  alone(boxes, ({ box }) => [...box]),
  alone(classes, ({ classId }) => [classId]),
  alone(scores, ({ score }) => [score]),
];
const count = (name: string) => ({ name, values: Float32Array.of(2), dims: [1, 1] });
served.push(
  [
    'YOLO-NAS by its own export, flat',
    'yolo-nas-flat',
    {
      input: { type: 'uint8' },
      outputs: [alone('graph2_flat_predictions', ({ box, score, classId }) => [0, ...box, score, classId])],
    },
  ],
  [
    'YOLO-NAS by its own export',
    'efficient-nms',
    {
      input: { type: 'uint8' },
      outputs: [
        count('graph2_num_predictions'),
        ...apart('graph2_pred_boxes', 'graph2_pred_classes', 'graph2_pred_scores').map(batched),
      ],
    },
  ],
  [
    'MMYOLO with suppression',
    'efficient-nms',
    { outputs: [count('num_dets'), ...apart('boxes', 'labels', 'scores').map(batched)] },
  ],
  [
    'torchvision without names of the outputs',
    'torchvision',
    { input: { shape: [3, SIDE, SIDE] }, outputs: apart('2871', '2872', '2873') },
  ],
  [
    'Mask R-CNN, boxes alone',
    'torchvision',
    {
      input: { shape: [3, SIDE, SIDE] },
      outputs: [
        ...apart('boxes', 'labels', 'scores'),
        { name: 'masks', values: new Float32Array(2 * 28 * 28), dims: [2, 1, 28, 28] },
      ],
    },
  ],
  [
    'YOLOv5 with masks',
    'yolov5-segment',
    {
      outputs: [
        table(3 * CELLS, 85 + MASKS, (one) => [...withClasses(certain, 80)(one), ...coefficients]),
        protos,
      ],
    },
  ],
  [
    'RT-DETR by Optimum, which leaves the number of channels open',
    'detr',
    {
      input: { name: 'pixel_values', shape: ['batch_size', 'num_channels', 'height', 'width'] },
      metadata: { ...names(80), imgsz: `[${SIDE}, ${SIDE}]` },
      outputs: [scores(300, 'logits', -8, SEEN.map(logits)), boxes(300, inShares, 'pred_boxes')],
    },
  ],
  [
    'DETR by Optimum, told which pixels are the picture',
    'detr',
    {
      mask: ['batch_size', 64, 64],
      outputs: [scores(300, 'logits', -8, SEEN.map(logits)), boxes(300, inShares, 'pred_boxes')],
    },
  ],
  [
    'DETR with a mask of the size of the picture',
    'detr',
    {
      mask: ['batch_size', 'height', 'width'],
      outputs: [scores(300, 'logits', -8, SEEN.map(logits)), boxes(300, inShares, 'pred_boxes')],
    },
  ],
  [
    'YOLOv8 that says that its sides vary, and runs at one size alone',
    'yolov8',
    {
      input: { shape: ['batch', 3, 'height', 'width'] },
      only: [-1, 3, SIDE, SIDE],
      metadata: { ...C80, imgsz: `[${SIDE}, ${SIDE}]` },
      outputs: [yolov8],
    },
  ],
);

const nothing = (
  name: string,
  dims: number[],
  declared = dims.map((size) => size || 'n'),
): ConstantModel => ({
  outputs: [{ name, values: new Float32Array(dims.reduce((a, b) => a * b, 1)), dims, declared }],
});
test.each<[string, string, ConstantModel]>([
  ['a list filled up with zeros', 'end2end', nothing('output0', [1, 300, 6])],
  ['a flat list of YOLO-NAS', 'yolo-nas-flat', nothing('graph2_flat_predictions', [0, 7])],
  ['a flat list of YOLOv7', 'yolov7-nms', nothing('output', [0, 7])],
])('%s, with no object in the synthetic pictures: served as %s', async (_, head, model) => {
  expect((await read(model)).head).toBe(head);
});

/** Objects in fewer classes. */
const inClasses = (count: number) =>
  SEEN.map((one) => ({ ...one, classId: Math.min(one.classId, count - 1) }));
/** Logits of three classes and of no object, which most queries say. */
const softmax = table(100, 4, (one) => [...withClasses(() => [], 3, -20)(logits(one)), 0], {
  name: 'logits',
});
for (let at = 0; at < 400; at += 4)
  if (at % (37 * 4) > 0 || at > 37 * 4) softmax.values.set([-20, -20, -20, 6], at);
served.push(
  [
    'RT-DETR of two class columns',
    'rtdetr',
    { outputs: [table(300, 6, withClasses(inShares, 2), { objects: inClasses(2) })], metadata: names(2) },
  ],
  [
    'DeepStream-Yolo of one class',
    'deepstream',
    { outputs: [table(1200, 6, asListed, { objects: inClasses(1) })], metadata: names(1) },
  ],
  [
    'DETR of Hugging Face without names, whose logits have four columns as boxes have',
    'detr-softmax',
    { outputs: [softmax, boxes(100, inShares, 'pred_boxes')] },
  ],
  [
    'RT-DETR of more class columns than queries, without names',
    'rtdetr',
    { outputs: [table(300, 1207, withClasses(inShares, 1203))] },
  ],
  [
    'YOLOv5 of one class that is sure of itself',
    'yolov5',
    { outputs: [table(3 * CELLS, 6, ({ box, score }) => [...centre(box), score, 1])], metadata: names(1) },
  ],
  ['an input of doubles', 'yolov8', { outputs: [yolov8], input: { type: 'float64' } }],
  [
    'what a person says, against the metadata',
    'yolov8',
    { outputs: [yolov8], metadata: { ...C80, end2end: 'True' } },
    { head: 'yolov8' },
  ],
  ['end to end of many rows', 'end2end', { outputs: [list(1200)], metadata: { ...C80, end2end: 'True' } }],
);

/** A number for each row of {@link table}. */
function spread(name: string, rows: number): ConstantOutput {
  return { ...table(rows, 1, ({ classId }) => [classId], { name }), dims: [1, rows] };
}

const surestFirst = (found: Candidate[]) => found.toSorted((a, b) => b.score - a.score);

async function readClosed(path: string, options?: ReadOptions) {
  const file = await readModelFile(path, options);
  const { inputWidth: width, inputHeight: height } = letterbox(16, 9, file.inputSize);
  const dims = [file.batchSize ?? 1, height, width, 3] as const;
  const alone = [await file.pool.ask(new Uint8Array(dims.reduce((x, y) => x * y)), dims)];
  await Promise.all([file.pool.close(), file.close()]);
  return { ...file, alone };
}

let files = 0;
async function read(model: ConstantModel, options: ReadOptions = {}) {
  return readClosed(await writeConstantModel(join(folder, `model-${files++}.onnx`), model), options);
}

test.each(served)('%s: recognised as %s, with the expected boxes', async (name, head, model, how) => {
  const file = await read(model, how);
  // Of half precision.
  const digits = name.includes('half') ? 2 : 0;
  expect(file.head).toBe(head);
  const { alone } = file;
  const options = { threshold: 0.3, inputWidth: SIDE, inputHeight: SIDE, keypoints: [2, 3] as const };
  const found = surestFirst(heads[file.head].decode(alone[0] ?? [], 0, options).filter(isSound));
  expect(found).toHaveLength(2);
  for (const [index, { box, score, classId }] of SEEN.entries()) {
    expect(found[index]?.score).toBeCloseTo(score, 4 - digits);
    for (const [side, value] of box.entries()) expect(found[index]?.box[side]).toBeCloseTo(value, 2 - digits);
    if (!name.includes('class')) expect(found[index]?.classId).toBe(classId);
  }
});

/** An object at each cell, as a model in use has them, most with little confidence. */
function everywhere(before: (object: Candidate) => readonly number[]): ConstantOutput {
  const objects = Array.from({ length: CELLS }, (_, cell): Candidate => {
    const [x, y] = [8 * (cell % 20), 8 * Math.floor(cell / 27)];
    return { classId: cell % 80, score: cell === 9 ? 0.9 : 0.01, box: [x, y, x + 20 + (cell % 7), y + 30] };
  });
  const rowOf = withClasses(before, 80);
  return { name: 'output0', values: Float32Array.from(objects.flatMap(rowOf)), dims: [1, CELLS, 84] };
}

const poisoned = (value: number, from: number, to: number): ConstantOutput => ({
  ...yolov8,
  values: yolov8.values.map((one, at) => (at >= from && at < to ? value : one)),
});
const refused: [string, RegExp, ConstantModel, ReadOptions?][] = [
  [
    'a detector of TensorFlow, whose x and y may be either way',
    /--head tf-detection/,
    {
      outputs: ['detection_boxes', 'detection_scores', 'detection_classes', 'num_detections'].map((name) => ({
        name,
        values:
          name === 'detection_classes' ? Float32Array.of(3, 1, 1, 1) : Float32Array.of(0.1, 0.2, 0.5, 0.6),
        dims: [1, 1, 4],
      })),
    },
  ],
  [
    'pose without metadata, which is served by no card',
    /confidences go from .* to 250(?!.*card beside it that says)/,
    {
      outputs: [
        transposed(
          table(CELLS, 56, (one) => [...centre(one.box), one.score, ...Array<number>(51).fill(250)]),
        ),
      ],
    },
  ],
  [
    'scores without sigmoid',
    /confidences go from .* to 2\.2/,
    {
      outputs: [transposed(table(CELLS, 84, withClasses(inCentre, 80), { objects: SEEN.map(logits) }))],
      metadata: C80,
    },
  ],
  [
    'boxes in shares',
    /smaller than 2 pixels/,
    { outputs: [transposed(table(CELLS, 84, withClasses(inShares, 80)))], metadata: C80 },
  ],
  [
    'boxes in shares of a small input, not taken for RT-DETR',
    /^(?!.*as rtdetr).*served with a card beside it that says \{ family: yolov8, boxes: centre-shares \}/,
    { outputs: [transposed(table(CELLS, 84, withClasses(inShares, 80)))] },
  ],
  [
    'boxes in shares beside an objectness, not taken for YOLOX',
    /as yolox, its boxes go from 0 to 1: .*a card beside it that says \{ family: yolov5, boxes: centre-shares \}/,
    {
      outputs: [
        table(
          CELLS,
          85,
          withClasses((one) => [...inShares(one), 1], 80),
        ),
      ],
    },
  ],
  [
    'two corners in shares beside an objectness, under the name that YOLOX gives',
    /as yolox, its boxes go from 0 to 1: .*a card beside it that says \{ family: yolox-decoded, boxes: corner-shares \}/,
    {
      outputs: [
        table(
          CELLS,
          85,
          withClasses(({ box }) => [...shares(box), 1], 80),
          { name: 'output' },
        ),
      ],
    },
  ],
  [
    'a list of two corners in shares, which is no RT-DETR',
    /as rtdetr-top, its boxes reach out of the picture/,
    { outputs: [table(300, 6, ({ box, score, classId }) => [...shares(box), score, classId])] },
  ],
  [
    'queries with two corners in shares',
    /as rtdetr, its boxes reach out of the picture/,
    {
      outputs: [
        table(
          300,
          84,
          withClasses(({ box }) => shares(box), 80),
        ),
      ],
      metadata: C80,
    },
  ],
  [
    'logits beside two corners in shares',
    /as detr, its boxes reach out of the picture/,
    {
      outputs: [
        scores(300, 'logits', -8, SEEN.map(logits)),
        boxes(300, ({ box }) => shares(box), 'pred_boxes'),
      ],
    },
  ],
  [
    'scores whose sigmoid is left out, with the card that serves them',
    /card beside it that says \{ family: yolov8, scores: logits \}/,
    {
      outputs: [
        transposed(table(CELLS, 84, withClasses(inCentre, 80, -8), { fill: -8, objects: SEEN.map(logits) })),
      ],
    },
  ],
  [
    'two corners read as centre and size, with the card that serves them',
    /card beside it that says \{ family: yolov8-rows, boxes: corners \}/,
    { outputs: [everywhere(({ box }) => box)] },
  ],
  [
    'mmdetection, whose pixels only a person knows',
    /--head mmdet/,
    { outputs: [table(60, 5, ({ box, score }) => [...box, score], { name: 'dets' }), spread('labels', 60)] },
  ],
  ['another task', /its task is 'depth'/, { outputs: [yolov8], metadata: { ...C80, task: 'depth' } }],
  [
    'classification that adds up to something else',
    /as classify, its values add up to 7, not to 1: export it with a softmax.* \{ family: classify, scores: logits \}/,
    {
      outputs: [{ name: 'output0', values: new Float32Array(10).fill(0.7), dims: [1, 10] }],
      metadata: { task: 'classify' },
    },
  ],
  [
    'classification without metadata',
    /a card says \{ task: classify \}/,
    { outputs: [{ name: 'output0', values: new Float32Array(10).fill(0.1), dims: [1, 10] }] },
  ],
  [
    'pose whose key points are not counted',
    /no kpt_shape.*keypoints: \[17, 3\]/,
    { outputs: [withPose], metadata: { ...C80, task: 'pose' } },
  ],
  [
    'pose that only a person calls so, whose key points are not counted',
    /no kpt_shape.*keypoints: \[17, 3\]/,
    { outputs: [withPose] },
    { head: 'yolov8-pose' },
  ],
  ['masks that are missing', /no family has/, { outputs: [yolov8], metadata: { ...C80, task: 'segment' } }],
  ['six channels', /neither \[N, 3, H, W\]/, { outputs: [yolov8], input: { shape: [1, 6, SIDE, SIDE] } }],
  [
    'an input of 100,000 by 100,000',
    /its input holds 10000000000 pixels, over 134217728: export it with a smaller one/,
    { outputs: [yolov8], input: { shape: [1, 3, 100_000, 100_000] } },
  ],
  ['an input of integers', /neither floats nor uint8/, { outputs: [yolov8], input: { type: 'int64' } }],
  ['nothing but NaN', /100 % of its numbers are NaN/, { outputs: [poisoned(Number.NaN, 0, 84 * CELLS)] }],
  [
    'a family that it is not',
    /as yolov8, the sizes .*fit --head yolov8-rows/,
    { outputs: [table(CELLS, 84, withClasses(inCentre, 80))] },
    { head: 'yolov8' },
  ],
  ['one name for eighty classes', /with 1 class names/, { outputs: [yolov8] }, { names: ['only'] }],
  [
    'a family whose reading makes no sense',
    /as end2end, the sizes/,
    { outputs: [{ name: 'o', values: new Float32Array(2100), dims: [1, 300, 7] }] },
    { head: 'end2end' },
  ],
];

refused.push(
  [
    'a list with the class before the score',
    /as end2end, its classes are no whole numbers/,
    { outputs: [table(300, 6, ({ box, score }) => [...box, 0, score])], metadata: names(1) },
  ],
  [
    'anchors, while the metadata says end to end',
    /metadata says end2end, and without that it could be --head yolov8/,
    { outputs: [yolov8], metadata: { ...C80, end2end: 'True' } },
  ],
  [
    'twenty names of eighty',
    /with another number of names it could be yolov8/,
    { outputs: [yolov8], metadata: names(20) },
  ],
  [
    'YOLOv9 with its auxiliary branch',
    /convert it without that branch first/,
    { outputs: [yolov8, { ...yolov8, name: 'output1' }] },
  ],
  [
    'raw maps',
    /decodes outside of the graph/,
    {
      outputs: [20, 10, 5].map((side) => ({
        ...{ name: `map${side}`, values: new Float32Array(255 * side * side), dims: [1, 255, side, side] },
      })),
    },
  ],
);

/** Oriented boxes of 15 classes; where there is no object, there is an angle too. */
const withAngles = transposed(table(CELLS, 20, (one) => [...withClasses(inCentre, 15)(one), -0.5]));
withAngles.values.fill(-0.5, 19 * CELLS);

/** A model of a task, from its objects as Ultralytics gives them. */
const ofTask = (
  task: string,
  form: (object: Candidate) => readonly number[],
  extra: (object: Candidate) => readonly number[],
): ConstantModel => ({
  outputs: [
    transposed(
      table(CELLS, 84 + extra(SEEN[0] as Candidate).length, (one) => [
        ...withClasses(form, 80)(one),
        ...extra(one),
      ]),
    ),
    ...(task === 'segment' ? [protos] : []),
  ],
  metadata: { ...C80, task, kpt_shape: '[2, 3]' },
});
refused.push(
  [
    'oriented boxes in degrees',
    /its angles go to 90: degrees, it seems; export it with radians/,
    ofTask('obb', inCentre, () => [90]),
  ],
  [
    'oriented boxes of two corners in a list',
    /as end2end-obb, its boxes reach out of the picture/,
    {
      outputs: [table(300, 7, (one) => [...asListed(one), 0])],
      metadata: { ...C80, task: 'obb' },
    },
  ],
  [
    'key points in shares',
    /key points are no pixels of the input: shares of the picture/,
    ofTask('pose', inCentre, () => [0.2, 0.3, 0.9, 0.5, 0.6, 0.2]),
  ],
  [
    'key points far from the picture',
    /key points lie outside the picture/,
    ofTask('pose', inCentre, () => [2000, -900, 0.9, 1500, -3000, 0.2]),
  ],
  [
    'two columns, the class before the score, in shares',
    /as rtdetr, the column before its last has only whole numbers/,
    { outputs: [table(300, 6, ({ box, score, classId }) => [...shares(centre(box)), classId / 2, score])] },
  ],
  [
    'key points without sigmoid',
    /confidences of its key points go from -3 to 5/,
    ofTask('pose', inCentre, () => [20, 30, 5, 50, 60, -3]),
  ],
  [
    'pose of one class without metadata, with the card that serves it',
    /card beside it that says \{ task: pose, keypoints: \[2, 3\] \}/,
    { outputs: [transposed(table(CELLS, 11, ({ box, score }) => [...centre(box), score, ...points]))] },
  ],
  [
    'oriented boxes without metadata, with the card that serves them',
    /card beside it that says \{ task: obb \}/,
    { outputs: [withAngles] },
  ],
);

const asOutputs = (form: (box: Candidate['box']) => readonly number[]): ConstantModel => ({
  outputs: [
    { name: 'num_dets', values: Float32Array.of(2), dims: [1, 1] },
    { name: 'det_boxes', values: Float32Array.from(SEEN.flatMap(({ box }) => form(box))), dims: [1, 2, 4] },
    { name: 'det_scores', values: Float32Array.from(SEEN.map(({ score }) => score)), dims: [1, 2] },
    labels('det_classes'),
  ],
});
test.each<[string, ConstantModel]>([
  [
    'scores without sigmoid of boxes in shares',
    {
      metadata: C80,
      outputs: [
        transposed(table(CELLS, 84, withClasses(inShares, 80, -8), { fill: -8, objects: SEEN.map(logits) })),
      ],
    },
  ],
  [
    'two corners of few objects',
    {
      outputs: [
        transposed(
          table(
            CELLS,
            84,
            withClasses(({ box }) => box, 80),
          ),
        ),
      ],
    },
  ],
  [
    'a list of two corners in shares',
    { outputs: [table(300, 6, (one) => asListed({ ...one, box: shares(one.box) as Candidate['box'] }))] },
  ],
  [
    'a list of centre and size',
    { outputs: [table(300, 6, (one) => asListed({ ...one, box: centre(one.box) as Candidate['box'] }))] },
  ],
  ["TensorRT's suppression in shares", asOutputs(shares)],
  [
    'masks of two corners',
    ofTask(
      'segment',
      ({ box }) => box,
      () => coefficients,
    ),
  ],
  ['masks of boxes in shares', ofTask('segment', inShares, () => coefficients)],
  [
    'pose of two corners',
    ofTask(
      'pose',
      ({ box }) => box,
      () => points,
    ),
  ],
  [
    'masks in a list of centre and size',
    {
      outputs: [
        protos,
        table(300, 6 + MASKS, (one) => [
          ...asListed({ ...one, box: centre(one.box) as Candidate['box'] }),
          ...coefficients,
        ]),
      ],
      metadata: { ...C80, task: 'segment' },
    },
  ],
  [
    "TensorRT's suppression of a corner and the size",
    asOutputs(([x1, y1, x2, y2]) => [x1, y1, x2 - x1, y2 - y1]),
  ],
  [
    'YOLO-NAS without sigmoid',
    { outputs: [boxes(CELLS, ({ box }) => box, 'boxes'), scores(CELLS, 'scores', -8, SEEN.map(logits))] },
  ],
])('%s: the recommended card makes it give the expected boxes', async (_name, model) => {
  const path = await writeConstantModel(join(folder, `model-${files++}.onnx`), model);
  const refusal = await readClosed(path).catch(({ message }) => message);
  const cards = [...refusal.matchAll(/\{ (family: [^}]*) \}/g)].map(([, card = '']) =>
    card.split(', ').join('\n'),
  );
  const answers: string[] = [];
  for (const card of cards) {
    await writeFile(path.replace('.onnx', '.yaml'), card);
    const { head, alone } = await readClosed(path);
    const options = { threshold: 0.3, inputWidth: SIDE, inputHeight: SIDE, keypoints: [2, 3] as const };
    const found = surestFirst(heads[head].decode(alone[0] ?? [], 0, options));
    answers.push(found.map(({ box, score }) => [...box, 10 * score].map(Math.round).join(' ')).join(', '));
  }
  expect(answers).toContain('25 35 75 85 9, 80 50 105 120 6');
});

test.each(refused)('%s: rejected with the reason', async (_name, reason, model, options) => {
  await expect(read(model, options)).rejects.toThrow(reason);
});

test('scores and boxes are read in the form that the card states', async () => {
  const path = join(folder, 'form.onnx');
  const yaml = join(folder, 'form.yaml');
  for (const [form, before] of [
    ['corners', ({ box }: Candidate) => box],
    ['centre-shares', inShares],
    ['corner-shares', ({ box }: Candidate) => shares(box)],
  ] as const) {
    const objects = SEEN.map(logits);
    const output = table(CELLS, 84, withClasses(before, 80, -8), { fill: -8, objects });
    const shape = ['n', 3, 'h', 'w'];
    const metadata = { ...C80, imgsz: `[${SIDE}, ${SIDE}]` };
    await writeConstantModel(path, { outputs: [transposed(output)], input: { shape }, metadata });
    await writeFile(yaml, `scores: logits\nboxes: ${form}\nfamily: yolov8\n`);
    const { alone } = await readClosed(path);
    const options = { threshold: 0.3, inputWidth: SIDE, inputHeight: SIDE };
    const found = surestFirst(heads.yolov8.decode(alone[0] ?? [], 0, options));
    expect(found.map(({ score }) => score.toFixed(4))).toEqual(['0.9000', '0.6000']);
    // The input is wider than high: 16 to 9.
    const high = form === 'corners' ? 1 : 96 / SIDE;
    for (const [index, { box }] of SEEN.entries()) {
      for (const [side, value] of box.entries())
        expect(found[index]?.box[side]).toBeCloseTo(side % 2 ? value * high : value, 2);
    }
  }
});

test('a card sets the softmax of a classifier, and the input size of a model with open sides', async () => {
  const path = await writeConstantModel(join(folder, 'classes.onnx'), {
    outputs: [{ name: 'logits', values: Float32Array.of(0, Math.log(3)), dims: [1, 2] }],
    input: { shape: ['batch_size', 'num_channels', 'height', 'width'] },
    only: [1, 3, 160, 64],
  });
  await writeFile(join(folder, 'classes.yaml'), 'task: classify\nscores: logits\nimgsz: [160, 64]\n');
  const { head, alone, inputSize } = await readClosed(path);
  expect([head, inputSize]).toEqual(['classify', { kind: 'fixed', width: 64, height: 160 }]);
  const [shares = []] = alone.map(([output]) => [...(output?.data ?? [])]);
  expect(shares.map((share) => share.toFixed(3))).toEqual(['0.250', '0.750']);
});

test('a NaN in the outputs removes only its own detection', async () => {
  const file = await read({
    outputs: [poisoned(Number.NaN, 5 * CELLS + 100, 5 * CELLS + 120)],
    metadata: C80,
  });
  const { alone } = file;
  const options = { threshold: 0.3, inputWidth: SIDE, inputHeight: SIDE };
  const found = surestFirst(heads.yolov8.decode(alone[0] ?? [], 0, options).filter(isSound));
  expect(found.map(({ score }) => score.toFixed(1))).toEqual(['0.9', '0.6']);
});

test('a card beside the file supplies family, fit and names that the file lacks', async () => {
  const path = await writeConstantModel(join(folder, 'card.onnx'), { outputs: [yolov8] });
  const card = join(folder, 'card.yaml');
  await writeFile(card, 'family: yolov8\nfit: stretch\nnames: [a, b]\n');
  await expect(readClosed(path)).rejects.toThrow('2 class names');
  await writeFile(
    card,
    `family: yolov8\nfit: stretch\nnames: ${C80.names}\ninput: { range: 0..255, channels: bgr }\n`,
  );
  expect(await readClosed(path)).toMatchObject({
    head: 'yolov8',
    fit: 'stretch',
    classNames: { 79: 'c79' },
  });
  await writeFile(card, `names: ${C80.names}\nconfidence: { c5: 0.4, c99: 0.4 }\n`);
  await expect(readClosed(path)).rejects.toThrow(
    "its card has a confidence for 'c99', which is none of its classes",
  );
  await writeFile(card, 'a: &a [x]\nnames: *a\n');
  await expect(readClosed(path)).rejects.toThrow(/card\.yaml: a card has no aliases/);
  await writeFile(card, `licence: ${'x'.repeat(500_000)}`);
  await expect(readClosed(path)).rejects.toThrow(/card\.yaml: it is larger than 500000 bytes/);
  await rm(card);
  await symlink('/dev/zero', card);
  await expect(readClosed(path)).rejects.toThrow(/can't read .*card\.yaml: it is a folder or a device/);
  await rm(card);
  await writeFile(card, 'famly: yolov8\n');
  await expect(readClosed(path)).rejects.toThrow(/card\.yaml: .*famly/);
});

/** Outputs as any graph may give them. */
const outputs: fc.Arbitrary<OutputTensor[]> = fc
  .record({
    dims: fc.oneof<fc.Arbitrary<number[]>[]>(
      fc.constantFrom([1, 84, CELLS], [1, CELLS, 85], [1, 300, 6], [1, 300, 84], [1, CELLS, 6], [4, 7]),
      fc.tuple(fc.constant(1), fc.integer({ min: 1, max: 90 }), fc.integer({ min: 1, max: 90 })),
    ),
    low: fc.double({ min: -300, max: 1, noNaN: true }),
    high: fc.double({ min: 0, max: 1000, noNaN: true }),
    seed: fc.integer({ min: 1, max: 1_000_000 }),
  })
  .map(({ dims, low, high, seed }) => {
    let state = seed;
    const data = new Float32Array(dims.reduce((product: number, size) => product * size, 1)).map(() => {
      state = (state * 48_271) % 2_147_483_647;
      return low + (high - low) * (state / 2_147_483_647);
    });
    return [{ name: 'output0', dims, data }];
  });

test('any outputs are rejected, or decoded to boxes in the picture with a confidence of 0 to 1', () => {
  fc.assert(
    fc.property(outputs, (random) => {
      const size = { inputWidth: SIDE, inputHeight: SIDE };
      const decision = chooseHead([random, random], size, undefined);
      if (!decision.head) return;
      const found = heads[decision.head].decode(random, 0, { threshold: 0.05, ...size }).filter(isSound);
      for (const { score } of found) expect(score).toBeLessThanOrEqual(1.01);
      const outside = found.filter(({ box: [x1, , x2] }) => x1 + x2 < -SIDE || x1 + x2 > 3 * SIDE);
      expect(outside.length).toBeLessThanOrEqual(found.length / 2);
    }),
    { numRuns: 300, seed: 26 },
  );
});

test('external weights beside the model are found from any working directory', async () => {
  const path = await writeConstantModel(join(folder, 'outside.onnx'), { outputs: [yolov8], metadata: C80 });
  const model = decodeModel(await readFile(path));
  const weights = model.graph.initializer.find(({ rawData }) => rawData.length > 1_000);
  if (!weights) throw new Error('no weights');
  const bytes = weights.rawData;
  const save = async (location: string, length = bytes.length) => {
    const entries = { location, offset: '16', length: String(length) };
    const externalData = Object.entries(entries).map(([key, value]) => ({ key, value }));
    Object.assign(weights, { rawData: new Uint8Array(), dataLocation: 1, externalData });
    await writeFile(path, encodeModel(model));
  };
  await save('outside.onnx.data');
  await expect(readClosed(path)).rejects.toThrow(/lie in 'outside.onnx.data', which can't be read/);
  await writeFile(join(folder, 'outside.onnx.data'), Buffer.concat([Buffer.alloc(16), bytes]));
  const { head, version } = await readClosed(path);
  expect(head).toBe('yolov8');
  // The last score, a zero before.
  const other = Buffer.concat([Buffer.alloc(16), bytes]);
  other.writeFloatLE(0.01, other.length - 4);
  await writeFile(join(folder, 'outside.onnx.data'), other);
  expect((await readClosed(path)).version).not.toBe(version);
  await save('outside.onnx.data', bytes.length + 1);
  await expect(readClosed(path)).rejects.toThrow("end beyond 'outside.onnx.data'");
  await save('../outside.onnx.data');
  await expect(readClosed(path)).rejects.toThrow('which is no file beside it');
});

import type { OutputForm } from '../onnx/output-form.ts';
import type { HeadName, KeypointShape, OutputTensor, Task } from './index.ts';
import { valuesOf } from './pose.ts';
import { boxesOf } from './rows.ts';
import { CLASSES, COUNT } from './separate.ts';
import { STRIDES } from './yolox.ts';

type OutputShape = Omit<OutputTensor, 'data'>;

/** Facts about a model after its first run. */
export interface ModelFacts {
  outputs: readonly OutputShape[];
  /** Size of the input, pixels. */
  inputWidth: number;
  inputHeight: number;
  /** Number of classes, if their names are known. */
  classes?: number | undefined;
  /** What the card says of the boxes. */
  boxes?: OutputForm['boxes'];
  /** What the model does, if its metadata, its card or the user says it. */
  task?: Task | undefined;
  /** Shape of a pose model's key points. */
  keypoints?: KeypointShape | undefined;
  /** Whether the metadata says that the model suppresses overlapping boxes itself. */
  endToEnd?: boolean | undefined;
}

/** A single output `[N, rows, columns]`. */
interface Matrix {
  rows: number;
  columns: number;
  /** For each known set of strides: the number of cells of all its strides together. */
  cells: readonly number[];
  classes: number | undefined;
  /** Whether the metadata says that the rows are objects, not anchors. */
  isList: boolean;
}

/** Most objects of a family without suppression; the others have thousands of anchors. */
const MAX_QUERIES = 1000;
/** Classes of COCO, which most models without names were trained on. */
const COCO_CLASSES = 80;

const hasClasses = (columns: number, before: number, classes: number | undefined) =>
  classes === undefined ? columns > before : columns === before + classes;
/** Whether there are one or three rows for each cell. */
const areCells = (rows: number, cells: Matrix['cells']) =>
  cells.some((count) => rows === count || rows === 3 * count);
/** Whether the rows may be anchors. If the number of classes is known, every number above {@link MAX_QUERIES} may. */
const areAnchors = (rows: number, { cells, classes }: Matrix) =>
  areCells(rows, cells) || (classes !== undefined && rows > MAX_QUERIES);

/** Families with one output `[N, rows, columns]`, each with a test whether the sizes fit. */
const matrices: [HeadName, (matrix: Matrix) => boolean][] = [
  [
    'yolov8',
    ({ rows, columns, cells, classes }) =>
      hasClasses(rows, 4, classes) &&
      (classes !== undefined || cells.includes(columns) || (columns > rows && columns > MAX_QUERIES)),
  ],
  [
    'yolov8-rows',
    (matrix) => hasClasses(matrix.columns, 4, matrix.classes) && areAnchors(matrix.rows, matrix),
  ],
  ['yolov5', (matrix) => hasClasses(matrix.columns, 5, matrix.classes) && areAnchors(matrix.rows, matrix)],
  ['yolox', isYolox],
  ['yolox-decoded', isYolox],
  ['end2end', ({ rows, columns, isList }) => columns === 6 && (rows <= MAX_QUERIES || isList)],
  ['rtdetr-top', ({ rows, columns }) => columns === 6 && rows <= MAX_QUERIES],
  ['deepstream', ({ rows, columns }) => columns === 6 && rows > MAX_QUERIES],
  [
    'rtdetr',
    ({ rows, columns, cells, classes }) =>
      rows <= MAX_QUERIES &&
      hasClasses(columns, 4, classes) &&
      // With one column for each anchor, it is the transposed output of another family.
      (classes !== undefined || !areCells(columns, cells)),
  ],
];
/** Number of columns before the classes, for families with a column for each class. */
export const COLUMNS_BEFORE_CLASSES: Partial<Record<HeadName, number>> = {
  'yolov8-rows': 4,
  rtdetr: 4,
  yolov5: 5,
  yolox: 5,
  'yolox-decoded': 5,
};

function isYolox({ rows, columns, cells, classes }: Matrix): boolean {
  return rows === cells[0] && hasClasses(columns, 5, classes);
}

const TF_OUTPUTS = [/detection_boxes/, /detection_scores/, /detection_classes/];

/** Families that can't be recognised from outputs alone: the user has to name them. */
export const MUST_BE_NAMED: Partial<Record<HeadName, string>> = {
  'tf-detection':
    "its outputs are named as TensorFlow's, whose boxes are y1, x1, y2, x2: if so, say --head tf-detection",
  mmdet:
    "its outputs are mmdetection's, whose models differ in how pixels are normalised: say --head mmdet, and in a card's " +
    "'input' what its configuration has, unless that is ImageNet's mean and deviation in RGB",
  paddle:
    "its outputs are PaddleDetection's, whose models differ in how pixels are normalised: say --head paddle, and in a card's " +
    "'input' what its infer_cfg.yml has, unless that is RGB from 0 to 1",
};

/** All families that fit the names and sizes of a model's outputs. `validateOutputs` then checks the values. */
export function possibleHeads(model: ModelFacts): HeadName[] {
  const { outputs } = model;
  const masks = outputs.length === 2 && outputs.find(({ dims }) => dims.length === 4);
  if (masks && (model.task ?? 'segment') === 'segment') return ofTask('segment', model, masks.dims[1] ?? 0);
  if (model.task === 'pose' && outputs.length === 1) return ofTask('pose', model, valuesOf(model.keypoints));
  if (model.task === 'obb' && outputs.length === 1) return ofTask('obb', model, 1);
  if (model.task === 'classify') return classifiers(model);
  if (model.task && model.task !== 'detect') return [];
  const named = (...patterns: RegExp[]) =>
    patterns.every((one) => outputs.some(({ name }) => one.test(name)));
  // TensorRT's EfficientNMS plugin uses the same names.
  if (named(...TF_OUTPUTS)) return ['efficient-nms', 'tf-detection'];
  const isApart = named(/boxes/i, CLASSES, /scores/i);
  if (isApart && named(COUNT)) return ['efficient-nms'];
  if (isApart) {
    const isBatched = outputs.find(({ name }) => /boxes/i.test(name))?.dims.length === 3;
    return [isBatched ? 'dfine' : 'torchvision'];
  }
  // Torchvision's exporter names no outputs by itself.
  const [{ dims } = { dims: [] }, ...others] = outputs;
  if (others.length > 1 && dims.length === 2 && dims[1] === 4 && isVector(others[0]) && isVector(others[1]))
    return ['torchvision'];
  if (outputs.length === 2) return pairs(outputs);
  const [output] = outputs;
  if (!output || outputs.length > 1) return [];
  if (output.dims.length === 2 && output.dims[1] === 7) return flat(output);
  return output.dims.length === 3 ? singles(output, model) : [];
}

const isVector = (output: OutputShape | undefined) => output?.dims.length === 1;

/** Without an object the values can't tell the two families apart: then the name that super-gradients gives does. */
function flat({ name, dims }: OutputShape): HeadName[] {
  if (dims[0] !== 0) return ['yolov7-nms', 'yolo-nas-flat'];
  return /flat/.test(name) ? ['yolo-nas-flat'] : ['yolov7-nms'];
}

function classifiers({ outputs, classes }: ModelFacts): HeadName[] {
  const [{ dims } = { dims: [] }, other] = outputs;
  return dims.length === 2 && !other && hasClasses(dims[1] ?? 0, 0, classes) ? ['classify'] : [];
}

/** Families of a task. @param extra number of values that it has for each object beyond box, score and class */
function ofTask(
  task: Exclude<Task, 'detect' | 'classify'>,
  { outputs, classes, ...sizes }: ModelFacts,
  extra: number,
): HeadName[] {
  const [, rows = 0, columns = 0] = outputs.find(({ dims }) => dims.length === 3)?.dims ?? [];
  if (columns === 6 + extra && rows <= MAX_QUERIES) return [`end2end-${task}`];
  const cells = STRIDE_SETS.map((strides) => cellsOf(strides, sizes));
  const mayBe = (anchors: number) => classes !== undefined || areCells(anchors, cells);
  if (mayBe(columns) && hasClasses(rows, 4 + extra, classes)) return [`yolov8-${task}`];
  const isYolov5 = task === 'segment' && mayBe(rows) && hasClasses(columns, 5 + extra, classes);
  return isYolov5 ? ['yolov5-segment'] : [];
}

function singles({ name, dims: [, rows = 0, columns = 0] }: OutputShape, model: ModelFacts): HeadName[] {
  const matrix = {
    rows,
    columns,
    cells: STRIDE_SETS.map((strides) => cellsOf(strides, model)),
    classes: model.classes,
    isList: model.endToEnd === true,
  };
  const fitting = matrices.filter(([, fits]) => fits(matrix)).map(([head]) => head);
  if (model.endToEnd) return fitting.filter((head) => head === 'end2end' || head === 'rtdetr-top');
  const coco = fitting.filter((head) => columns - (COLUMNS_BEFORE_CLASSES[head] ?? 0) === COCO_CLASSES);
  const likely = model.classes === undefined && coco.length > 0 ? coco : fitting;
  // YOLOv5 and decoded YOLOX have equal sizes and differ only in their preprocessing: the output's name decides.
  if (name === 'outputs') return likely.filter((head) => head !== 'yolox-decoded');
  return name === 'output' && rows === matrix.cells[0] ? likely.filter((head) => head !== 'yolov5') : likely;
}

function pairs(outputs: readonly OutputShape[]): HeadName[] {
  const boxes = boxesOf(outputs);
  const scores = outputs.find((output) => output !== boxes);
  const ranks = outputs.map(({ dims }) => dims.length);
  if (ranks.includes(1) && outputs.some(({ dims }) => dims.length === 2 && dims[1] === 6)) return ['paddle'];
  if (ranks.includes(2) && outputs.some(({ dims }) => dims.length === 3 && dims[2] === 5)) return ['mmdet'];
  if (boxes?.dims.length !== 3 || scores?.dims.length !== 3) return [];
  const anchors = boxes.dims[1];
  if (scores.dims[1] !== anchors) return scores.dims[2] === anchors ? ['boxes-scores'] : [];
  // Only RF-DETR's export names its outputs `dets` and `labels`.
  return boxes.name === 'dets' ? ['rfdetr'] : ['detr', 'detr-softmax', 'boxes-scores'];
}

/** Known sets of strides: the usual one, with a coarser level (P6), with a finer one (P2), and that of tiny models. */
const STRIDE_SETS = [STRIDES, [...STRIDES, 64], [4, ...STRIDES], [16, 32]];

function cellsOf(
  strides: readonly number[],
  { inputWidth, inputHeight }: Pick<ModelFacts, 'inputWidth' | 'inputHeight'>,
): number {
  return strides.reduce(
    (sum, stride) => sum + Math.floor(inputWidth / stride) * Math.floor(inputHeight / stride),
    0,
  );
}

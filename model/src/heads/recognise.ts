import type { HeadName } from './index.ts';
import { STRIDES } from './yolox.ts';

/** An output as the model's file declares it: sizes, or names of sizes that vary. */
export interface OutputShape {
  name: string;
  shape: readonly (number | string)[];
}

/** What is known of a model before it has run. */
export interface ModelShape {
  outputs: readonly OutputShape[];
  /** Pixels; `undefined` when it varies. */
  inputWidth: number | undefined;
  inputHeight: number | undefined;
  /** How many classes the model's metadata names, when it does. */
  classes: number | undefined;
}

/** A single output `[N, rows, columns]`; `NaN` where a size varies. */
interface Matrix {
  rows: number;
  columns: number;
  /** Cells of all strides; `NaN` when the input's size varies. */
  cells: number;
  classes: number | undefined;
}

/** Most objects of a family without suppression; the others have thousands of anchors. */
const MAX_QUERIES = 1000;

const singleOutput: [HeadName, (matrix: Matrix) => boolean][] = [
  [
    'yolov8',
    ({ rows, columns, classes }) =>
      classes === undefined ? rows > 4 && !(columns <= rows) : rows === 4 + classes,
  ],
  [
    'yolov5',
    ({ rows, columns, cells, classes }) =>
      classes === undefined ? rows === 3 * cells : columns === 5 + classes && rows !== cells,
  ],
  [
    'yolox',
    ({ rows, columns, cells, classes }) => rows === cells && columns === 5 + (classes ?? columns - 5),
  ],
  ['end2end', ({ rows, columns }) => columns === 6 && rows <= MAX_QUERIES],
  [
    'rtdetr',
    ({ rows, columns, classes }) =>
      rows <= MAX_QUERIES &&
      (classes === undefined ? columns < rows && columns > 6 : columns === 4 + classes),
  ],
];

/**
 * Tells a model's family by its outputs' shapes.
 * @returns `undefined` when none fits, or more than one
 */
export function recogniseHead(model: ModelShape): HeadName | undefined {
  if (model.outputs.some(({ shape }) => shape.length !== 3)) return undefined;
  if (model.outputs.length === 2) return recogniseDetr(model.outputs);
  const [output] = model.outputs;
  if (!output || model.outputs.length > 1) return undefined;
  // Ultralytics names the sizes that vary; the others may then have lost their numbers.
  if (output.shape[2] === 'anchors') return 'yolov8';
  const [, rows, columns] = output.shape.map((size) => (typeof size === 'number' ? size : Number.NaN));
  const matrix = { rows: rows ?? 0, columns: columns ?? 0, cells: cellsOf(model), classes: model.classes };
  const fitting = singleOutput.filter(([, fits]) => fits(matrix));
  return fitting.length === 1 ? fitting[0]?.[0] : undefined;
}

function recogniseDetr(outputs: readonly OutputShape[]): HeadName | undefined {
  if (!outputs.some(({ shape }) => shape[2] === 4)) return undefined;
  // RF-DETR's export alone calls its outputs `dets` and `labels`.
  return outputs.some(({ name }) => name === 'dets') ? 'rfdetr' : 'detr';
}

function cellsOf({ inputWidth = Number.NaN, inputHeight = Number.NaN }: ModelShape): number {
  return STRIDES.reduce(
    (sum, stride) => sum + Math.floor(inputWidth / stride) * Math.floor(inputHeight / stride),
    0,
  );
}

// Pictures that carry their frame's name in black and white cells, and a model that sees each white cell as an object:
// so each picture and each list of detections at the end has the name of its frame.
import { writeFile } from 'node:fs/promises';
import type { Detection } from '@video-pipeline/frame';
import sharp from 'sharp';
import { GraphBuilder } from '../../model/src/onnx/graph-builder.ts';

/** Stream and number of a frame. */
export interface Name {
  /** 0..15 */
  stream: number;
  /** 0..16383 */
  number: number;
}

export const MAX_STREAMS = 16;
export const MAX_NUMBERS = 16_384;

const COLUMNS = 6;
const ROWS = 4;
const CELL = { width: 64, height: 48 };
export const SIZE = { width: COLUMNS * CELL.width, height: ROWS * CELL.height };
const CELLS = Array.from({ length: COLUMNS * ROWS }, (_, index) => ({
  left: (index % COLUMNS) * CELL.width,
  top: Math.floor(index / COLUMNS) * CELL.height,
}));
/** Room between a cell's edge and its box, pixels: box and label leave the cells' middles free. */
const INSET = 8;
const MIDDLE = { x: 16, y: 18, width: 32, height: 14 };
const [BLACK, WHITE, GREY] = [16, 235, 128];
const CHECK_BITS = 6;

/** A JPEG of {@link SIZE} with `name` in its cells, about 3 KB. */
export async function drawName(name: Name): Promise<Buffer> {
  const bits = bitsOf(name);
  const pixels = Buffer.alloc(SIZE.width * SIZE.height);
  for (const [index, { left, top }] of CELLS.entries()) {
    const shade = bits & (1 << index) ? WHITE : BLACK;
    for (let y = top; y < top + CELL.height; y++) {
      const start = y * SIZE.width + left;
      pixels.fill(shade, start, start + CELL.width);
    }
  }
  return sharp(pixels, { raw: { ...SIZE, channels: 1 } })
    .jpeg({ quality: 80 })
    .toBuffer();
}

/** Reads the name in a picture, annotated or not; `undefined` if its check bits are wrong. */
export async function readPicture(jpeg: Buffer): Promise<Name | undefined> {
  const { data, info } = await sharp(jpeg).greyscale().raw().toBuffer({ resolveWithObject: true });
  if (info.width !== SIZE.width || info.height !== SIZE.height) return undefined;
  let bits = 0;
  for (const [index, { left, top }] of CELLS.entries()) {
    if (meanOf(data, left + MIDDLE.x, top + MIDDLE.y) > GREY) bits |= 1 << index;
  }
  return nameOf(bits);
}

/** Reads the name from detections. */
export function readDetections(detections: readonly Detection[]): Name | undefined {
  let bits = 0;
  for (const { bbox } of detections) {
    const column = Math.floor((bbox[0] + bbox[2]) / 2 / CELL.width);
    const row = Math.floor((bbox[1] + bbox[3]) / 2 / CELL.height);
    bits |= 1 << (row * COLUMNS + column);
  }
  return nameOf(bits);
}

/** Bits of a number that are all set where its cells are of the class {@link MARK}: eight frames of every 64. */
const MARK_BITS = [3, 4, 5];
/** Class of the cells of marked frames; those of the others are of the class `cell`. */
export const MARK = 'mark';
export const isMarked = ({ number }: Name) => MARK_BITS.every((bit) => number & (1 << bit));

/** Writes the model, an ONNX file of YOLOv8's output layout. */
export async function writeModel(path: string): Promise<void> {
  const g = new GraphBuilder();
  const images = g.input('images', 'float32', ['batch', 3, SIZE.height, SIZE.width]);
  const kernel = [CELL.height, CELL.width];
  const means = g.node('AveragePool', [images], { kernel_shape: kernel, strides: kernel });
  const grey = g.node('ReduceMean', [means], { axes: [1], keepdims: 1 });
  const scores = g.node('Reshape', [grey, g.constant([0, 1, CELLS.length])]);
  const boxes = Float32Array.from([
    ...CELLS.map(({ left }) => left + CELL.width / 2),
    ...CELLS.map(({ top }) => top + CELL.height / 2),
    ...CELLS.map(() => CELL.width - 2 * INSET),
    ...CELLS.map(() => CELL.height - 2 * INSET),
  ]);
  const zero = g.node('Mul', [scores, g.scalar(0)]);
  const placed = g.node('Add', [zero, g.constant(boxes, [1, 4, CELLS.length])]);
  const markCells = g.constant(MARK_BITS.map((bit) => CHECK_BITS + bit));
  const marked = g.node('ReduceMin', [g.node('Gather', [scores, markCells], { axis: 2 })], {
    axes: [2],
    keepdims: 1,
  });
  // 0.92 or 0.06: far from the middle of this curve.
  const isMark = g.node('Sigmoid', [g.node('Mul', [g.node('Sub', [marked, g.scalar(0.5)]), g.scalar(100)])]);
  const marks = g.node('Mul', [scores, isMark]);
  const cells = g.node('Mul', [scores, g.node('Sub', [g.scalar(1), g.node('Mul', [isMark, g.scalar(0.5)])])]);
  const output = g.node('Concat', [placed, cells, marks], { axis: 1 });
  g.output('output0', output, ['batch', 6, CELLS.length]);
  const imgsz = `[${SIZE.height}, ${SIZE.width}]`;
  await writeFile(
    path,
    g.encode('numbered', { task: 'detect', stride: '32', imgsz, names: `{0: 'cell', 1: '${MARK}'}` }),
  );
}

function bitsOf({ stream, number }: Name): number {
  const value = (stream << 14) | number;
  return (value << CHECK_BITS) | checkOf(value);
}

function nameOf(bits: number): Name | undefined {
  const value = bits >>> CHECK_BITS;
  if (checkOf(value) !== (bits & ((1 << CHECK_BITS) - 1))) return undefined;
  return { stream: value >>> 14, number: value & (MAX_NUMBERS - 1) };
}

/** Multiplicative hashing (Knuth, The Art of Computer Programming, 6.4): its high bits depend on all of the value. */
function checkOf(value: number): number {
  return Math.imul(value, 0x9e3779b1) >>> (32 - CHECK_BITS);
}

function meanOf(grey: Buffer, left: number, top: number): number {
  let sum = 0;
  for (let y = top; y < top + MIDDLE.height; y++) {
    for (let x = left; x < left + MIDDLE.width; x++) sum += grey[y * SIZE.width + x] ?? 0;
  }
  return sum / (MIDDLE.width * MIDDLE.height);
}

import type { Candidate, DetailOptions, Head, OutputTensor, Point } from './head.ts';
import { decodeList, end2end } from './listed.ts';
import { outlineOf, simplify } from './outline.ts';
import { decodeRows } from './rows.ts';
import { decodeAnchors, yolov8 } from './yolov8.ts';
import { anchors } from './yolox.ts';

/**
 * Ultralytics' segmentation: the output of YOLOv8 with M mask coefficients after the classes, `[N, 4 + C + M, A]`, and
 * prototypes of masks `[N, M, H, W]`. A mask is the sum of the prototypes, weighted by the coefficients.
 * @see https://docs.ultralytics.com/tasks/segment/
 */
export const yolov8Segment: Head = {
  ...yolov8,
  task: 'segment',
  decode: (outputs, image, { threshold }) =>
    decodeAnchors(matricesOf(outputs)[0], image, threshold, protosOf(outputs)?.dims[1]),
  finish: withMask,
};

/** YOLOv5 and YOLOv7: `[N, A, 5 + C + M]`, and the prototypes. */
export const yolov5Segment: Head = {
  ...yolov8Segment,
  anchors,
  decode: (outputs, image, options) =>
    decodeRows(anchors, protosOf(outputs)?.dims[1])(matricesOf(outputs), image, options),
};

/** YOLOv8 with suppression inside, or YOLO26 without: `[N, 300, 6 + M]`, and the prototypes. */
export const end2endSegment: Head = {
  ...end2end,
  task: 'segment',
  decode: (outputs, image, options) => decodeList(matricesOf(outputs), image, options),
  finish: withMask,
};

const matricesOf = (outputs: readonly OutputTensor[]) => outputs.filter(({ dims }) => dims.length === 3);
const protosOf = (outputs: readonly OutputTensor[]) => outputs.find(({ dims }) => dims.length === 4);

/** Adds the outline of the largest part of the mask. An object with an empty mask is dropped, as by Ultralytics. */
function withMask(
  { extra = new Float32Array(), ...kept }: Candidate,
  outputs: readonly OutputTensor[],
  image: number,
  options: DetailOptions,
): Candidate | undefined {
  const { scale, maxPoints } = options;
  const left = Math.max(0, Math.ceil(kept.box[0]));
  const top = Math.max(0, Math.ceil(kept.box[1]));
  const width = Math.min(options.inputWidth, Math.ceil(kept.box[2])) - left;
  const height = Math.min(options.inputHeight, Math.ceil(kept.box[3])) - top;
  const protos = protosOf(outputs);
  if (!protos || width <= 0 || height <= 0) return undefined;
  const mask = maskIn({ left, top, width, height }, protos, image, extra, options);
  const outline = outlineOf(mask, width, height);
  if (outline.length === 0) return undefined;
  // Half a pixel of the picture.
  const polygon = simplify(outline, 0.5 / scale, maxPoints).map(([x, y]): Point => [x + left, y + top]);
  return polygon.length < 3 ? kept : { ...kept, polygon };
}

/**
 * The mask in a window of the model's input, whole pixels, row by row. It is 1 where the weighted sum of the
 * prototypes, interpolated between their pixels' centres, is over 0.
 */
function maskIn(
  window: Record<'left' | 'top' | 'width' | 'height', number>,
  { dims, data }: OutputTensor,
  image: number,
  coefficients: Float32Array,
  { inputWidth, inputHeight }: DetailOptions,
): Uint8Array {
  const [, channels = 0, rows = 0, columns = 0] = dims;
  const across = tapsOf(window.left, window.width, columns, inputWidth);
  const down = tapsOf(window.top, window.height, rows, inputHeight);
  const [firstColumn, lastColumn] = [across.low[0] ?? 0, across.high.at(-1) ?? 0];
  const [firstRow, lastRow] = [down.low[0] ?? 0, down.high.at(-1) ?? 0];
  const wide = lastColumn - firstColumn + 1;
  const sums = new Float32Array(wide * (lastRow - firstRow + 1));
  for (let channel = 0; channel < channels; channel++) {
    const coefficient = coefficients[channel] ?? 0;
    const plane = (image * channels + channel) * rows;
    for (let row = firstRow, to = 0; row <= lastRow; row++) {
      const from = (plane + row) * columns + firstColumn;
      for (let at = from; at < from + wide; at++, to++)
        sums[to] = (sums[to] as number) + coefficient * (data[at] as number);
    }
  }
  const mask = new Uint8Array(window.width * window.height);
  const mixed = new Float32Array(wide);
  for (let y = 0, to = 0; y < window.height; y++) {
    const share = down.share[y] as number;
    const above = ((down.low[y] as number) - firstRow) * wide;
    const below = ((down.high[y] as number) - firstRow) * wide;
    for (let x = 0; x < wide; x++)
      mixed[x] = (sums[above + x] as number) * (1 - share) + (sums[below + x] as number) * share;
    for (let x = 0; x < window.width; x++, to++) {
      const one = mixed[(across.low[x] as number) - firstColumn] as number;
      const other = mixed[(across.high[x] as number) - firstColumn] as number;
      const shared = across.share[x] as number;
      if (one * (1 - shared) + other * shared > 0) mask[to] = 1;
    }
  }
  return mask;
}

/** For each pixel of the input from `first` on: the two samples beside its centre, and the share of the second. */
function tapsOf(first: number, count: number, samples: number, pixels: number) {
  const low = new Int32Array(count);
  const high = new Int32Array(count);
  const share = new Float64Array(count);
  for (let at = 0; at < count; at++) {
    const centre = Math.max(0, ((first + at + 0.5) * samples) / pixels - 0.5);
    const below = Math.min(samples - 1, Math.floor(centre));
    low[at] = below;
    high[at] = Math.min(samples - 1, below + 1);
    share[at] = centre - below;
  }
  return { low, high, share };
}

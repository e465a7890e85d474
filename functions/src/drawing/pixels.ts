import { evenUp, type Raster } from '@video-pipeline/picture/codec';
import { edgesOf } from '@video-pipeline/scene/zones';
import type { Colour } from './colour.ts';
import { type Glyphs, UNKNOWN } from './glyphs.ts';

export interface Pixels {
  width: number;
  height: number;
  /** Red, green and blue; or Y, Cb and Cr. */
  planes: readonly Plane[];
  isYuv: boolean;
}

/** The samples of one component. */
interface Plane {
  /** Begins with the first sample. */
  samples: Uint8Array;
  /** From one sample to the next in a row, bytes. */
  step: number;
  /** From one row to the next, bytes. */
  stride: number;
  /** Samples of a row, and rows. */
  width: number;
  height: number;
  /** Pixels for each sample, horizontally and vertically. */
  scale: 1 | 2;
}

/** In whole pixels. `right` and `bottom` are the first column and row outside. */
export interface Rectangle {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

/** @returns the planes of a picture; what is drawn on them is drawn on the picture */
export function pixelsIn({ data, width, height, form }: Raster): Pixels {
  if (form === 'rgb') {
    const layout = { step: 3, stride: 3 * width, width, height, scale: 1 } as const;
    const planes = [0, 1, 2].map((component) => ({ samples: data.subarray(component), ...layout }));
    return { width, height, planes, isYuv: false };
  }
  const [columns, rows] = [evenUp(width) / 2, evenUp(height) / 2];
  const luma = { samples: data, step: 1, stride: 2 * columns, width, height, scale: 1 } as const;
  const chroma = { step: 1, stride: columns, width: columns, height: rows, scale: 2 } as const;
  const quarter = columns * rows;
  const parts = [4, 5].map((quarters) => ({ samples: data.subarray(quarters * quarter), ...chroma }));
  return { width, height, planes: [luma, ...parts], isYuv: true };
}

/** The planes, each with the colour's value in it, 0..255 (JFIF: BT.601 with full range). */
function coloured({ planes, isYuv }: Pixels, [red, green, blue]: Colour): [Plane, number][] {
  const luma = 0.299 * red + 0.587 * green + 0.114 * blue;
  const values = isYuv ? [luma, 128 + (blue - luma) / 1.772, 128 + (red - luma) / 1.402] : [red, green, blue];
  // Whole numbers, which are written faster.
  return planes.map((plane, index) => [plane, Math.min(255, Math.round(values[index] ?? 0))]);
}

/** Fills the part of the rectangle that lies in the picture. */
export function fillRectangle(pixels: Pixels, rectangle: Rectangle, colour: Colour): void {
  for (const [plane, value] of coloured(pixels, colour)) fillPlane(plane, rectangle, value);
}

function fillPlane(plane: Plane, rectangle: Rectangle, value: number): void {
  const { samples, step, stride, scale } = plane;
  const [left, top] = [Math.max(rectangle.left, 0), Math.max(rectangle.top, 0)];
  const right = Math.min(rectangle.right, plane.width * scale);
  const bottom = Math.min(rectangle.bottom, plane.height * scale);
  if (left >= right) return;
  // The samples whose pixels are all between left and right.
  const [first, end] = [Math.ceil(left / scale), Math.floor(right / scale)];
  for (let y = Math.floor(top / scale); y * scale < bottom; y++) {
    const share = (Math.min(bottom, (y + 1) * scale) - Math.max(top, y * scale)) / scale;
    const row = y * stride;
    fillSamples(samples, row + first * step, row + end * step, step, value, share);
    if (first * scale > left) mix(samples, row + (first - 1) * step, value, share / 2);
    if (end * scale < right) mix(samples, row + end * step, value, share / 2);
  }
}

/** From this many samples on, `fill` is faster than a loop. */
const FILLED = 32;

function fillSamples(
  samples: Uint8Array,
  from: number,
  end: number,
  step: number,
  value: number,
  share: number,
): void {
  if (share < 1) for (let at = from; at < end; at += step) mix(samples, at, value, share);
  else if (step === 1 && end - from >= FILLED) samples.fill(value, from, end);
  else for (let at = from; at < end; at += step) samples[at] = value;
}

function mix(samples: Uint8Array, at: number, value: number, share: number): void {
  const before = samples[at] as number;
  samples[at] = before + (((value - before) * share) | 0);
}

/** Draws the rectangle's border inside the rectangle, `line` pixels wide. */
export function strokeRectangle(pixels: Pixels, rectangle: Rectangle, line: number, colour: Colour): void {
  const { left, top, right, bottom } = rectangle;
  // Borders that meet are filled as one rectangle: one by one, each would colour a shared sample only by half.
  const isFull = Math.min(right - left, bottom - top) <= 2 * line;
  const borders = [
    { bottom: top + line },
    { top: bottom - line },
    { right: left + line },
    { left: right - line },
  ];
  for (const border of isFull ? [{}] : borders) fillRectangle(pixels, { ...rectangle, ...border }, colour);
}

/** In pixels of the picture; may lie outside. */
export type Points = readonly (readonly [x: number, y: number])[];

/** Mixes `colour` into the part of a polygon that lies in the picture. @param share of the colour, 0..1 */
export function tintPolygon(pixels: Pixels, points: Points, colour: Colour, share: number): void {
  for (const [plane, value] of coloured(pixels, colour)) tintPlane(plane, points, value, share);
}

function tintPlane(plane: Plane, points: Points, value: number, share: number): void {
  const { samples, step, stride, scale } = plane;
  /** For each row, where the polygon's edges cross the middle of its samples. */
  const crossings: number[][] = [];
  for (const [[x1, y1], [x2, y2]] of edgesOf(points)) {
    const last = Math.min(plane.height - 1, Math.ceil(Math.max(y1, y2) / scale - 0.5) - 1);
    for (let y = Math.max(0, Math.ceil(Math.min(y1, y2) / scale - 0.5)); y <= last; y++) {
      const row = crossings[y] ?? [];
      row.push((x1 + (((y + 0.5) * scale - y1) / (y2 - y1)) * (x2 - x1)) / scale);
      crossings[y] = row;
    }
  }
  for (const [y, row = []] of crossings.entries()) {
    row.sort((a, b) => a - b);
    for (let pair = 0; pair + 1 < row.length; pair += 2) {
      const first = Math.max(0, Math.round(row[pair] as number));
      const end = Math.min(plane.width, Math.round(row[pair + 1] as number));
      fillSamples(samples, y * stride + first * step, y * stride + end * step, step, value, share);
    }
  }
}

/** Draws a closed outline, `line` pixels wide. */
export function strokePolygon(pixels: Pixels, points: Points, line: number, colour: Colour): void {
  for (const [from, to] of edgesOf(points)) strokeLine(pixels, from, to, line, colour);
}

/** Draws a line as a row of squares with sides of `line` pixels. */
export function strokeLine(
  pixels: Pixels,
  [x1, y1]: Points[number],
  [x2, y2]: Points[number],
  line: number,
  colour: Colour,
): void {
  const steps = Math.max(1, Math.ceil((2 * Math.max(Math.abs(x2 - x1), Math.abs(y2 - y1))) / line));
  for (let step = 0; step <= steps; step++) {
    const left = Math.round(x1 + ((x2 - x1) * step) / steps - line / 2);
    const top = Math.round(y1 + ((y2 - y1) * step) / steps - line / 2);
    fillRectangle(pixels, { left, top, right: left + line, bottom: top + line }, colour);
  }
}

export function textWidth(text: string, glyphs: Glyphs): number {
  return cellsOf(text, glyphs).reduce((sum, { width }) => sum + width, 0);
}

/** Blends `text` into the picture, with its upper left corner at `x`, `y`. Parts outside the picture are not drawn. */
export function drawText(
  pixels: Pixels,
  text: string,
  x: number,
  y: number,
  glyphs: Glyphs,
  colour: Colour,
): void {
  const planes = coloured(pixels, colour);
  let left = x;
  for (const cell of cellsOf(text, glyphs)) {
    for (const [plane, value] of planes) blend(plane, cell, left, y, glyphs, value);
    left += cell.width;
  }
}

function cellsOf(text: string, { cells }: Glyphs) {
  return Array.from(text, (char) => cells.get(char) ?? cells.get(UNKNOWN) ?? { x: 0, width: 0 });
}

/** Of the pixels that share a sample, the upper left one decides. */
function blend(
  { samples, step, stride, width, height, scale }: Plane,
  cell: { x: number; width: number },
  left: number,
  top: number,
  { coverage, stride: row, height: rows }: Glyphs,
  value: number,
): void {
  const firstColumn = Math.max(0, Math.ceil(left / scale));
  const lastColumn = Math.min(width, Math.ceil((left + cell.width) / scale));
  const lastRow = Math.min(height, Math.ceil((top + rows) / scale));
  for (let y = Math.max(0, Math.ceil(top / scale)); y < lastRow; y++) {
    let cells = (y * scale - top) * row + cell.x - left + firstColumn * scale;
    let at = y * stride + firstColumn * step;
    for (const end = y * stride + lastColumn * step; at < end; at += step, cells += scale) {
      const share = coverage[cells] as number;
      if (share > 0) samples[at] = (((samples[at] as number) * (255 - share) + value * share) / 255) | 0;
    }
  }
}

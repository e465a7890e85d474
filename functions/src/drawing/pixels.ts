import type { Rgb } from '@video-pipeline/picture/codec';
import type { Colour } from './colour.ts';
import { type Glyphs, UNKNOWN } from './glyphs.ts';

export type Pixels = Rgb;

/** In whole pixels. `right` and `bottom` are the first column and row outside. */
export interface Rectangle {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

/** Wider rows are copied from the first row, which is faster than writing each pixel; pixels. */
const COPIED_WIDTH = 32;

/** Fills the part of the rectangle that lies in the picture. */
export function fillRectangle({ data, width, height }: Pixels, rectangle: Rectangle, colour: Colour): void {
  const [left, top] = [Math.max(rectangle.left, 0), Math.max(rectangle.top, 0)];
  const length = Math.min(rectangle.right, width) - left;
  const bottom = Math.min(rectangle.bottom, height);
  const [red, green, blue] = colour;
  const first = (top * width + left) * 3;
  for (let y = top; y < bottom && length > 0; y++) {
    const row = (y * width + left) * 3;
    if (y > top && length > COPIED_WIDTH) {
      data.copyWithin(row, first, first + length * 3);
      continue;
    }
    for (let at = row; at < row + length * 3; at += 3) {
      data[at] = red;
      data[at + 1] = green;
      data[at + 2] = blue;
    }
  }
}

/** Draws the rectangle's border inside the rectangle, `line` pixels wide. */
export function strokeRectangle(pixels: Pixels, rectangle: Rectangle, line: number, colour: Colour): void {
  const { left, top, right, bottom } = rectangle;
  fillRectangle(pixels, { ...rectangle, bottom: Math.min(top + line, bottom) }, colour);
  fillRectangle(pixels, { ...rectangle, top: Math.max(bottom - line, top) }, colour);
  fillRectangle(pixels, { ...rectangle, right: Math.min(left + line, right) }, colour);
  fillRectangle(pixels, { ...rectangle, left: Math.max(right - line, left) }, colour);
}

/** Width of `text`, pixels. */
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
  let left = x;
  for (const cell of cellsOf(text, glyphs)) {
    blend(pixels, cell, left, y, glyphs, colour);
    left += cell.width;
  }
}

function cellsOf(text: string, { cells }: Glyphs) {
  return Array.from(text, (char) => cells.get(char) ?? cells.get(UNKNOWN) ?? { x: 0, width: 0 });
}

function blend(
  { data, width, height }: Pixels,
  cell: { x: number; width: number },
  left: number,
  top: number,
  { coverage, stride, height: rows }: Glyphs,
  colour: Colour,
): void {
  const firstRow = Math.max(0, -top);
  const lastRow = Math.min(rows, height - top);
  const first = Math.max(0, -left);
  const last = Math.min(cell.width, width - left);
  const [red, green, blue] = colour;
  for (let row = firstRow; row < lastRow; row++) {
    let at = ((top + row) * width + left + first) * 3;
    const cells = row * stride + cell.x;
    for (let column = first; column < last; column++, at += 3) {
      const share = coverage[cells + column] as number;
      if (share === 0) continue;
      const rest = 255 - share;
      data[at] = ((data[at] as number) * rest + red * share) / 255;
      data[at + 1] = ((data[at + 1] as number) * rest + green * share) / 255;
      data[at + 2] = ((data[at + 2] as number) * rest + blue * share) / 255;
    }
  }
}

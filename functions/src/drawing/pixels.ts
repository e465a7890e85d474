import type { Colour } from './colour.ts';
import { type Glyphs, UNKNOWN } from './glyphs.ts';

/** A picture in memory: three bytes a pixel, red, green, blue, row by row. */
export interface Pixels {
  data: Buffer;
  width: number;
  height: number;
}

/** In whole pixels; `right` and `bottom` are the first outside. */
export interface Rectangle {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

/** Fills what of the rectangle lies in the picture. */
export function fillRectangle({ data, width, height }: Pixels, rectangle: Rectangle, colour: Colour): void {
  const left = Math.max(rectangle.left, 0);
  const right = Math.min(rectangle.right, width);
  const bottom = Math.min(rectangle.bottom, height);
  const [red, green, blue] = colour;
  for (let y = Math.max(rectangle.top, 0); y < bottom; y++) {
    const end = (y * width + right) * 3;
    for (let at = (y * width + left) * 3; at < end; at += 3) {
      data[at] = red;
      data[at + 1] = green;
      data[at + 2] = blue;
    }
  }
}

/** Draws the rectangle's edge, `line` pixels wide, inside of it. */
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

/** Blends `text` into the picture, its upper left corner at `x`, `y`; what lies outside is not drawn. */
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
  for (let row = firstRow; row < lastRow; row++) {
    for (let column = first; column < last; column++) {
      const share = coverage[row * stride + cell.x + column] ?? 0;
      if (share === 0) continue;
      const at = ((top + row) * width + left + column) * 3;
      for (let part = 0; part < 3; part++) {
        const under = data[at + part] ?? 0;
        data[at + part] = under + (((colour[part] ?? 0) - under) * share) / 255;
      }
    }
  }
}

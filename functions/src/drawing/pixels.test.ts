import fc from 'fast-check';
import { expect, test } from 'vitest';
import { fillRectangle, type Pixels, strokeRectangle } from './pixels.ts';

const WIDTH = 48;
const HEIGHT = 8;
const side = fc.integer({ min: -20, max: 60 });
const rectangle = fc.record({ left: side, top: side, right: side, bottom: side });

const blank = (): Pixels => ({ data: Buffer.alloc(WIDTH * HEIGHT * 3), width: WIDTH, height: HEIGHT });

/** `x,y` of every pixel that is not black, each checked to have the whole colour. */
function painted({ data }: Pixels): string[] {
  return Array.from({ length: WIDTH * HEIGHT }, (_, index) => index)
    .filter((index) => data[index * 3])
    .map((index) => {
      expect([...data.subarray(index * 3, index * 3 + 3)]).toEqual([1, 2, 3]);
      return `${index % WIDTH},${Math.floor(index / WIDTH)}`;
    });
}

function expected(isIn: (x: number, y: number) => boolean): string[] {
  return Array.from(
    { length: WIDTH * HEIGHT },
    (_, index) => [index % WIDTH, Math.floor(index / WIDTH)] as const,
  )
    .filter(([x, y]) => isIn(x, y))
    .map(([x, y]) => `${x},${y}`);
}

test('a filled rectangle is its part inside the picture, and no pixel else', () => {
  fc.assert(
    fc.property(rectangle, (area) => {
      const pixels = blank();
      fillRectangle(pixels, area, [1, 2, 3]);
      const { left, top, right, bottom } = area;
      expect(painted(pixels)).toEqual(expected((x, y) => x >= left && x < right && y >= top && y < bottom));
    }),
  );
});

test('a stroked rectangle is what lies within a line of its edge, never outside of it', () => {
  fc.assert(
    fc.property(rectangle, fc.integer({ min: 1, max: 4 }), (area, line) => {
      const pixels = blank();
      strokeRectangle(pixels, area, line, [1, 2, 3]);
      const { left, top, right, bottom } = area;
      const isIn = (x: number, y: number) => x >= left && x < right && y >= top && y < bottom;
      const isEdge = (x: number, y: number) =>
        Math.min(x - left, right - 1 - x, y - top, bottom - 1 - y) < line;
      expect(painted(pixels)).toEqual(expected((x, y) => isIn(x, y) && isEdge(x, y)));
    }),
  );
});

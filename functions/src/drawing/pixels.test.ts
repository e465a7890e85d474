import fc from 'fast-check';
import { expect, test } from 'vitest';
import { fillRectangle, type Pixels, pixelsIn, strokeRectangle } from './pixels.ts';

// An odd width, so that the last chroma sample belongs to one column.
const WIDTH = 47;
const HEIGHT = 8;
const side = fc.integer({ min: -20, max: 60 });
const rectangle = fc.record({ left: side, top: side, right: side, bottom: side });
const COLOUR = [1, 2, 3] as const;
/** The colour in YCbCr, by libjpeg. */
const YUV = [2, 129, 127];
type IsIn = (x: number, y: number) => boolean;

function expectPainted(draw: (pixels: Pixels) => void, isIn: IsIn): void {
  const rgb = pixelsIn({ form: 'rgb', data: Buffer.alloc(WIDTH * HEIGHT * 3), width: WIDTH, height: HEIGHT });
  const yuv = pixelsIn({ form: 'yuv', data: Buffer.alloc(48 * HEIGHT * 1.5), width: WIDTH, height: HEIGHT });
  draw(rgb);
  draw(yuv);
  for (const [index, part] of COLOUR.entries()) expectPlane(rgb, index, part, isIn);
  expectPlane(yuv, 0, YUV[0], isIn);
  for (const index of [1, 2]) expectChroma(yuv, index, isIn);
}

function expectPlane({ planes }: Pixels, index: number, value: number | undefined, isIn: IsIn): void {
  const { samples, step = 0, stride = 0 } = planes[index] ?? {};
  const places = Array.from(
    { length: WIDTH * HEIGHT },
    (_, at) => [at % WIDTH, Math.floor(at / WIDTH)] as const,
  );
  expect(places.map(([x, y]) => samples?.[y * stride + x * step])).toEqual(
    places.map(([x, y]) => (isIn(x, y) ? value : 0)),
  );
}

/** A sample has the colour where all of its pixels do, nothing where none does, and a share of it in between. */
function expectChroma({ planes }: Pixels, index: number, isIn: IsIn): void {
  const samples = [...(planes[index]?.samples.subarray(0, 24 * (HEIGHT / 2)) ?? [])];
  const expected = samples.map((value, at) => {
    const [x, y] = [2 * (at % 24), 2 * Math.floor(at / 24)];
    const own = [x, x + 1].flatMap((column) => [y, y + 1].map((row) => isIn(column, row)));
    const full = YUV[index] ?? 0;
    if (own.every(Boolean)) return full;
    return own.some(Boolean) ? Math.max(1, Math.min(value, full - 1)) : 0;
  });
  expect(samples).toEqual(expected);
}

test('a filled rectangle changes exactly its pixels inside the picture', () => {
  fc.assert(
    fc.property(rectangle, (area) => {
      const { left, top, right, bottom } = area;
      expectPainted(
        (pixels) => fillRectangle(pixels, area, COLOUR),
        (x, y) => x >= left && x < right && y >= top && y < bottom,
      );
    }),
  );
});

test('a stroked rectangle changes only pixels within a line width inside its edge', () => {
  fc.assert(
    fc.property(rectangle, fc.integer({ min: 1, max: 4 }), (area, line) => {
      const { left, top, right, bottom } = area;
      const isIn = (x: number, y: number) => x >= left && x < right && y >= top && y < bottom;
      const isEdge = (x: number, y: number) =>
        Math.min(x - left, right - 1 - x, y - top, bottom - 1 - y) < line;
      expectPainted(
        (pixels) => strokeRectangle(pixels, area, line, COLOUR),
        (x, y) => isIn(x, y) && isEdge(x, y),
      );
    }),
    // Two columns that share their chroma samples.
    { examples: [[{ left: 2, top: -2, right: 4, bottom: 20 }, 1]] },
  );
});

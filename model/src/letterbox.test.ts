import fc from 'fast-check';
import { expect, test } from 'vitest';
import { letterbox, toPicture } from './letterbox.ts';

const rectangle = { kind: 'rectangle', longest: 640, stride: 32 } as const;

// Expected values: ultralytics LetterBox((640, 640), auto=True, stride=32), worked out by hand.
test.each([
  [
    1280,
    720,
    {
      inputWidth: 640,
      inputHeight: 384,
      width: 640,
      height: 360,
      left: 0,
      top: 12,
      scaleX: 0.5,
      scaleY: 0.5,
    },
  ],
  [
    720,
    1280,
    {
      inputWidth: 384,
      inputHeight: 640,
      width: 360,
      height: 640,
      left: 12,
      top: 0,
      scaleX: 0.5,
      scaleY: 0.5,
    },
  ],
  [
    640,
    480,
    { inputWidth: 640, inputHeight: 480, width: 640, height: 480, left: 0, top: 0, scaleX: 1, scaleY: 1 },
  ],
  [
    320,
    240,
    { inputWidth: 640, inputHeight: 480, width: 640, height: 480, left: 0, top: 0, scaleX: 2, scaleY: 2 },
  ],
])('a picture of %i x %i is letterboxed to the smallest rectangle', (width, height, expected) => {
  expect(letterbox(width, height, rectangle)).toEqual(expected);
});

test.each([
  [1280, 721, 360],
  [1280, 723, 362],
  [1280, 725, 362],
])('half a pixel is rounded to even, as in Python: %i x %i', (width, height, expected) => {
  expect(letterbox(width, height, rectangle).height).toBe(expected);
});

test('a fixed input size has bars on both sides', () => {
  const box = letterbox(1280, 720, { kind: 'fixed', width: 640, height: 640 });
  expect(box).toEqual({
    inputWidth: 640,
    inputHeight: 640,
    width: 640,
    height: 360,
    left: 0,
    top: 140,
    scaleX: 0.5,
    scaleY: 0.5,
  });
});

test('any picture fits into the input, and each point is mapped there and back', () => {
  const side = fc.integer({ min: 1, max: 9000 });
  fc.assert(
    fc.property(side, side, fc.double({ min: 0, max: 1, noNaN: true }), (width, height, share) => {
      const box = letterbox(width, height, rectangle);
      expect(box.left + box.width).toBeLessThanOrEqual(box.inputWidth);
      expect(box.top + box.height).toBeLessThanOrEqual(box.inputHeight);
      expect([box.inputWidth % 32, box.inputHeight % 32]).toEqual([0, 0]);
      const x = share * width * box.scaleX + box.left;
      const y = share * height * box.scaleY + box.top;
      const [backX, backY] = toPicture([x, y, x, y], box, width, height);
      expect(backX).toBeCloseTo(share * width, 6);
      expect(backY).toBeCloseTo(share * height, 6);
    }),
  );
});

test('a box is clipped to the picture', () => {
  const box = letterbox(1280, 720, rectangle);
  expect(toPicture([-20, 0, 700, 384], box, 1280, 720)).toEqual([0, 0, 1280, 720]);
});

test("with 'corner' there are bars only on the right and below", () => {
  expect(letterbox(1280, 720, rectangle, 'corner')).toMatchObject({ inputHeight: 384, left: 0, top: 0 });
});

test("with 'stretch' the picture fills the input, and boxes are mapped back", () => {
  const box = letterbox(1280, 720, { kind: 'fixed', width: 640, height: 640 }, 'stretch');
  expect(box).toMatchObject({ width: 640, height: 640, left: 0, top: 0 });
  expect(toPicture([320, 320, 640, 640], box, 1280, 720)).toEqual([640, 360, 1280, 720]);
});

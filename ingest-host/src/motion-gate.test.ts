import { AV_PIX_FMT_YUV420P, AVCOL_RANGE_MPEG } from 'node-av/constants';
import { Frame } from 'node-av/lib';
import { expect, test } from 'vitest';
import { motionGate } from './motion-gate.ts';

const WIDTH = 640;
const HEIGHT = 360;

/** A grey wall with a sensor's noise, and a white square of `size` pixels. */
function scene(size: number, seed: number, brightness = 110): Frame {
  const planes = Buffer.alloc((WIDTH * HEIGHT * 3) / 2, 128);
  for (let at = 0, random = seed; at < WIDTH * HEIGHT; at += 1) {
    random = (random * 16_807) % 2_147_483_647;
    const inside = at % WIDTH < size && Math.floor(at / WIDTH) < size;
    planes[at] = inside ? 235 : brightness + (random % 21) - 10;
  }
  const frame = Frame.fromVideoBuffer(planes, { width: WIDTH, height: HEIGHT, format: AV_PIX_FMT_YUV420P });
  frame.colorRange = AVCOL_RANGE_MPEG;
  return frame;
}

/** Which of the scenes pass, ten a second. */
async function passing(scenes: [size: number, brightness?: number][], threshold: number | 'safe' = 0.01) {
  using gate = motionGate({ threshold, keepaliveSeconds: 2 });
  const passed: number[] = [];
  for (const [index, [size, brightness]] of scenes.entries()) {
    using picture = scene(size, index + 1, brightness);
    if (await gate.passes(picture, index / 10)) passed.push(index);
  }
  return passed;
}

test('a still scene with noise is sent once, and again after each keepalive interval', async () => {
  expect(await passing(Array.from({ length: 41 }, () => [0]))).toEqual([0, 20, 40]);
});

test('frames with motion are sent: a square of 1.1 % of the picture that comes and goes', async () => {
  expect(await passing([[0], [0], [50], [50], [0], [0]])).toEqual([0, 2, 4]);
  expect(await passing([[0], [0], [50], [50], [0], [0]], 0.05)).toEqual([0]);
});

test.each([
  [1 / 2304, [0]],
  ['safe', [0, 2]],
] as const)(
  'a small change in one cell is sent only with the threshold `safe` (%s)',
  async (threshold, expected) => {
    using gate = motionGate({ threshold, keepaliveSeconds: 10 });
    const passed: number[] = [];
    // Four pixels of one cell of a hundred. The noise is the same each time.
    for (const [index, size] of [0, 0, 2, 2].entries()) {
      using picture = scene(size, 1);
      if (await gate.passes(picture, index / 10)) passed.push(index);
    }
    expect(passed).toEqual(expected);
  },
);

test('a slow change adds up, because pictures are compared with the last one that was sent', async () => {
  const passed = await passing(Array.from({ length: 19 }, (_, index) => [0, 90 + index * 2]));
  expect(passed.length).toBeGreaterThan(2);
  expect(passed.length).toBeLessThan(10);
});

test('a frame whose time jumps back is sent', async () => {
  using gate = motionGate({ threshold: 0.01, keepaliveSeconds: 2 });
  using picture = scene(0, 1);
  expect([
    await gate.passes(picture, 100),
    await gate.passes(picture, 100.1),
    await gate.passes(picture, 3),
  ]).toEqual([true, false, true]);
});

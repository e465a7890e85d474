import { takeMemory } from '@video-pipeline/picture/codec';
import { roundHalfEven } from './resize.ts';

interface Size {
  width: number;
  height: number;
}

/** Weights in fixed point, as Pillow's. */
const BITS = 22;

/**
 * Scales RGB bytes so that the shorter side fits and cuts out the middle, exactly as torchvision's `Resize` and
 * `CenterCrop` do with Pillow. If the sides of `to` differ, the picture is stretched.
 * @see https://github.com/python-pillow/Pillow/blob/main/src/libImaging/Resample.c
 */
export function resizeAndCrop(rgb: Uint8Array, from: Size, to: Size): Uint8Array {
  const scaled = scaledSize(from, to);
  const across = weightsOf(from.width, scaled.width, to.width);
  const down = weightsOf(from.height, scaled.height, to.height);
  const [firstRow] = down[0] ?? [0];
  const [lastRow, last] = down.at(-1) ?? [0, []];
  // Each row is scaled and rounded first, then each column.
  const rows = new Uint8Array((lastRow + last.length - firstRow) * to.width * 3);
  for (let y = firstRow, at = 0; y < lastRow + last.length; y++)
    for (const [first, weights] of across)
      for (let channel = 0; channel < 3; channel++, at++)
        rows[at] = mixed(rgb, (y * from.width + first) * 3 + channel, 3, weights);
  const cropped = takeMemory(to.width * to.height * 3);
  const stride = to.width * 3;
  for (const [y, [first, weights]] of down.entries())
    for (let x = 0; x < stride; x++)
      cropped[y * stride + x] = mixed(rows, (first - firstRow) * stride + x, stride, weights);
  return cropped;
}

/** Size of the picture before it is cut. */
function scaledSize({ width, height }: Size, to: Size): Size {
  if (to.width !== to.height) return to;
  return width <= height
    ? { width: to.width, height: Math.floor((to.height * height) / width) }
    : { width: Math.floor((to.width * width) / height), height: to.height };
}

/** For each sample in the middle: the first sample that it is made of, and the weight of each from there on. */
function weightsOf(samples: number, scaled: number, middle: number): [first: number, weights: number[]][] {
  const scale = samples / scaled;
  const reach = Math.max(1, scale);
  const skipped = roundHalfEven((scaled - middle) / 2);
  return Array.from({ length: middle }, (_, index) => {
    const centre = (skipped + index + 0.5) * scale;
    const first = Math.max(0, Math.floor(centre - reach + 0.5));
    const count = Math.min(samples, Math.floor(centre + reach + 0.5)) - first;
    const heights = Array.from({ length: count }, (_, at) =>
      Math.max(0, 1 - Math.abs((first + at - centre + 0.5) / reach)),
    );
    const sum = heights.reduce((total, height) => total + height, 0);
    return [first, heights.map((height) => Math.floor((height / sum) * 2 ** BITS + 0.5))];
  });
}

function mixed(bytes: Uint8Array, start: number, step: number, weights: readonly number[]): number {
  let sum = 1 << (BITS - 1);
  for (let index = 0, at = start; index < weights.length; index++, at += step)
    sum += (bytes[at] as number) * (weights[index] as number);
  return Math.min(255, sum >> BITS);
}

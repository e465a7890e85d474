/** Bits of a weight, and one in that scale: OpenCV's `INTER_RESIZE_COEF_BITS`. */
const ONE = 2048;

/** Which two samples of the source each of the target's lies between, and how much each of them weighs. */
interface Taps {
  first: Int32Array;
  second: Int32Array;
  weights: Int32Array;
  otherWeights: Int32Array;
}

/**
 * Scales RGB bytes as `cv2.resize` with INTER_LINEAR does it, to the bit: between the centres of pixels, two samples a side
 * however far it shrinks, in fixed point; where it halves, the mean of four. What lies between the samples is never read,
 * so that a large picture costs no more than a small one.
 * @returns `toHeight` rows of `toWidth` pixels
 * @see https://github.com/opencv/opencv/blob/4.x/modules/imgproc/src/resize.cpp: HResizeLinear, VResizeLinear
 */
export function resizeLinear(
  rgb: Uint8Array,
  { width, height }: { width: number; height: number },
  toWidth: number,
  toHeight: number,
): Uint8Array {
  if (width === 2 * toWidth && height === 2 * toHeight) return halve(rgb, toWidth, toHeight);
  const columns = tapsOf(width, toWidth, 3);
  const rows = tapsOf(height, toHeight, width * 3);
  const scaled = new Uint8Array(toWidth * toHeight * 3);
  for (let y = 0; y < toHeight; y++) {
    const above = rgb.subarray(rows.first[y]);
    const below = rgb.subarray(rows.second[y]);
    const into = scaled.subarray(y * toWidth * 3, (y + 1) * toWidth * 3);
    mix(above, below, columns, rows.weights[y] as number, rows.otherWeights[y] as number, into);
  }
  return scaled;
}

/** Fills one row from the two that it lies between. Unrolled: a loop over channels takes three times as long. */
function mix(
  above: Uint8Array,
  below: Uint8Array,
  { first, second, weights, otherWeights }: Taps,
  top: number,
  bottom: number,
  into: Uint8Array,
): void {
  for (let x = 0, to = 0; x < first.length; x++, to += 3) {
    const at = first[x] as number;
    const next = second[x] as number;
    const left = weights[x] as number;
    const right = otherWeights[x] as number;
    // `>> 4` and `>> 16` drop the bits that OpenCV drops, so that 16 are enough between the two.
    into[to] =
      ((((((above[at] as number) * left + (above[next] as number) * right) >> 4) * top) >> 16) +
        (((((below[at] as number) * left + (below[next] as number) * right) >> 4) * bottom) >> 16) +
        2) >>
      2;
    into[to + 1] =
      ((((((above[at + 1] as number) * left + (above[next + 1] as number) * right) >> 4) * top) >> 16) +
        (((((below[at + 1] as number) * left + (below[next + 1] as number) * right) >> 4) * bottom) >> 16) +
        2) >>
      2;
    into[to + 2] =
      ((((((above[at + 2] as number) * left + (above[next + 2] as number) * right) >> 4) * top) >> 16) +
        (((((below[at + 2] as number) * left + (below[next + 2] as number) * right) >> 4) * bottom) >> 16) +
        2) >>
      2;
  }
}

/** @param step bytes between two samples */
function tapsOf(size: number, toSize: number, step: number): Taps {
  const taps: Taps = {
    ...{ first: new Int32Array(toSize), second: new Int32Array(toSize) },
    ...{ weights: new Int32Array(toSize), otherWeights: new Int32Array(toSize) },
  };
  const scale = 1 / (toSize / size);
  for (let to = 0; to < toSize; to++) {
    const at = Math.fround((to + 0.5) * scale - 0.5);
    const whole = Math.floor(at);
    const share = Math.fround(at - whole);
    taps.first[to] = clamp(whole, size) * step;
    taps.second[to] = clamp(whole + 1, size) * step;
    taps.weights[to] = roundHalfEven(Math.fround(Math.fround(1 - share) * ONE));
    taps.otherWeights[to] = roundHalfEven(Math.fround(share * ONE));
  }
  return taps;
}

function roundHalfEven(value: number): number {
  const whole = Math.round(value);
  return whole - value === 0.5 && whole % 2 !== 0 ? whole - 1 : whole;
}

const clamp = (at: number, size: number) => Math.min(Math.max(at, 0), size - 1);

/** Each pixel becomes the mean of four. Unrolled, as it is above. */
function halve(rgb: Uint8Array, width: number, height: number): Uint8Array {
  const half = new Uint8Array(width * height * 3);
  const row = 2 * width * 3;
  let to = 0;
  for (let y = 0; y < height; y++) {
    const end = (2 * y + 1) * row;
    for (let at = 2 * y * row; at < end; at += 6) {
      const below = at + row;
      half[to] =
        ((rgb[at] as number) +
          (rgb[at + 3] as number) +
          (rgb[below] as number) +
          (rgb[below + 3] as number) +
          2) >>
        2;
      half[to + 1] =
        ((rgb[at + 1] as number) +
          (rgb[at + 4] as number) +
          (rgb[below + 1] as number) +
          (rgb[below + 4] as number) +
          2) >>
        2;
      half[to + 2] =
        ((rgb[at + 2] as number) +
          (rgb[at + 5] as number) +
          (rgb[below + 2] as number) +
          (rgb[below + 5] as number) +
          2) >>
        2;
      to += 3;
    }
  }
  return half;
}

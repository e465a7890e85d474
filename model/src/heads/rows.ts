import type { OutputTensor } from './head.ts';

/**
 * The rows of an output `[N, rows, columns]` for one picture of the batch; of `[rows, columns]` all.
 * @param column only rows whose value there reaches `least` are given
 */
export function* rowsOf(
  output: OutputTensor | undefined,
  image: number,
  column?: number,
  least = Number.NEGATIVE_INFINITY,
): Generator<Float32Array> {
  if (!output) return;
  const [rows = 0, columns = 0] = output.dims.slice(-2);
  const start = image * rows * columns;
  for (let at = start; at < start + rows * columns; at += columns) {
    if (column !== undefined && !((output.data[at + column] as number) >= least)) continue;
    yield output.data.subarray(at, at + columns);
  }
}

/** @returns index of the largest value from `start` on; what is no number is never it, unless all are none */
export function argMax(values: Float32Array, start = 0): number {
  let best = start;
  let most = Number.NEGATIVE_INFINITY;
  for (let index = start; index < values.length; index++) {
    const value = values[index] as number;
    if (value > most) [best, most] = [index, value];
  }
  return best;
}

/** @returns corners `[x1, y1, x2, y2]` */
export function corners(x: number, y: number, w: number, h: number): [number, number, number, number] {
  return [x - w / 2, y - h / 2, x + w / 2, y + h / 2];
}

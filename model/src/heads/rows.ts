import type { Candidate, OutputTensor } from './head.ts';

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

/** Under it only the best class of a row counts: a low threshold would make a candidate of each number of an output. */
const LEAST_OF_SEVERAL = 1e-3;

/**
 * The classes of a row that reach the threshold, as projects count them that take the best pairs of box and class: one box may
 * have several.
 * @param toScore what makes a score of 0 to 1 of a value; must rise with it
 */
export function* classesOf(
  row: Float32Array,
  threshold: number,
  toScore: (value: number) => number,
): Generator<Pick<Candidate, 'classId' | 'score'>> {
  const best = argMax(row);
  const most = toScore(row[best] as number);
  if (!(most >= threshold)) return;
  yield { classId: best, score: most };
  for (let classId = 0; most >= LEAST_OF_SEVERAL && classId < row.length; classId++) {
    if (classId === best) continue;
    const score = toScore(row[classId] as number);
    if (score >= Math.max(threshold, LEAST_OF_SEVERAL)) yield { classId, score };
  }
}

/** @returns corners `[x1, y1, x2, y2]` */
export function corners(x: number, y: number, w: number, h: number): [number, number, number, number] {
  return [x - w / 2, y - h / 2, x + w / 2, y + h / 2];
}

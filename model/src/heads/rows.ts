import type { AnchorLayout, Candidate, Head, OutputTensor } from './head.ts';

/**
 * The rows of one picture in an output `[N, rows, columns]`. For `[rows, columns]` pass `image` 0.
 * @param column only rows whose value in this column is at least `min` are returned
 */
export function* rowsOf(
  output: OutputTensor | undefined,
  image: number,
  column?: number,
  min = Number.NEGATIVE_INFINITY,
): Generator<Float32Array> {
  if (!output) return;
  const [rows = 0, columns = 0] = output.dims.slice(-2);
  const start = image * rows * columns;
  for (let at = start; at < start + rows * columns; at += columns) {
    if (column !== undefined && !((output.data[at + column] as number) >= min)) continue;
    yield output.data.subarray(at, at + columns);
  }
}

/** @returns index of the largest value from `start` to `end`; NaN is never the largest. `start` if all values are NaN */
export function argMax(values: Float32Array, start = 0, end = values.length): number {
  let best = start;
  let max = Number.NEGATIVE_INFINITY;
  for (let index = start; index < end; index++) {
    const value = values[index] as number;
    if (value > max) [best, max] = [index, value];
  }
  return best;
}

/** Lower scores count only for a row's best class: a low threshold would make every value a candidate. */
const MIN_OF_SEVERAL = 1e-3;

/**
 * The classes of a row that reach the threshold: one box may have several classes. Some model families count pairs of
 * box and class this way. Without a threshold (-Infinity) only the best class counts.
 * @param toScore converts a value to a score from 0 to 1; must be monotonically increasing
 */
export function* classesOf(
  row: Float32Array,
  threshold: number,
  toScore: (value: number) => number,
): Generator<Pick<Candidate, 'classId' | 'score'>> {
  const best = argMax(row);
  const max = toScore(row[best] as number);
  if (!(max >= threshold)) return;
  yield { classId: best, score: max };
  if (threshold === Number.NEGATIVE_INFINITY) return;
  for (let classId = 0; max >= MIN_OF_SEVERAL && classId < row.length; classId++) {
    if (classId === best) continue;
    const score = toScore(row[classId] as number);
    if (score >= Math.max(threshold, MIN_OF_SEVERAL)) yield { classId, score };
  }
}

/** The output with boxes: it has four columns. Its name decides where scores of four classes lie beside it. */
export function boxesOf<T extends { name: string; dims: readonly number[] }>(
  outputs: readonly T[],
): T | undefined {
  const four = outputs.filter(({ dims }) => dims.at(-1) === 4);
  return four.length > 1 ? four.find(({ name }) => /box|dets/i.test(name)) : four[0];
}

/**
 * Reads an output `[N, anchors, columns]`: in each row the box, in some families its objectness, and the scores of the
 * classes. The best class counts. Its score is multiplied by the objectness.
 * @param extra number of columns after the classes; they become the candidate's extra values
 */
export function decodeRows(
  { hasObjectness, toBox }: Omit<AnchorLayout, 'isChannelsFirst'>,
  extra = 0,
): Head['decode'] {
  const firstClass = hasObjectness ? 5 : 4;
  return ([output], image, options) => {
    const found: Candidate[] = [];
    if (!output) return found;
    const { data, dims } = output;
    const [, anchors = 0, columns = 0] = dims;
    for (let anchor = 0; anchor < anchors; anchor++) {
      const at = (image * anchors + anchor) * columns;
      const objectness = hasObjectness ? (data[at + 4] as number) : 1;
      // A score is never higher than the objectness, so that most rows can be skipped here.
      if (!(objectness >= options.threshold)) continue;
      const row = data.subarray(at, at + columns);
      const best = argMax(row, firstClass, columns - extra);
      const score = objectness * (row[best] as number);
      if (!(score >= options.threshold)) continue;
      const [a = 0, b = 0, c = 0, d = 0] = row;
      const one = { classId: best - firstClass, score, box: toBox([a, b, c, d], anchor, options) };
      found.push(extra > 0 ? { ...one, extra: row.subarray(columns - extra) } : one);
    }
    return found;
  };
}

/** The box of a centre and a size that are shares of the input's sides. */
export const fromShares: AnchorLayout['toBox'] = ([x, y, w, h], _anchor, { inputWidth, inputHeight }) =>
  corners(x * inputWidth, y * inputHeight, w * inputWidth, h * inputHeight);

/** @returns corners `[x1, y1, x2, y2]` */
export function corners(x: number, y: number, w: number, h: number): [number, number, number, number] {
  return [x - w / 2, y - h / 2, x + w / 2, y + h / 2];
}

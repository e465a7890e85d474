import type { Detection } from '@video-pipeline/frame';
import { munkres } from 'munkres';
import { at } from './zones.ts';

/** Centre x, centre y, width, height: all in one unit. */
export type Box = [number, number, number, number];

/** The box of a detection, from its corners `[x1, y1, x2, y2]`. */
export function fromCorners([x1, y1, x2, y2]: Detection['bbox']): Box {
  return [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1];
}

/** A row and a column that may be paired, by their indexes. */
export interface Pair {
  row: number;
  column: number;
}

/**
 * Intersection over union, 0..1.
 * @example
 * iou(fromCorners([0, 0, 2, 1]), fromCorners([1, 0, 3, 1])); // => 1 / 3
 */
export function iou(a: Box, b: Box): number {
  const shared = sharedLength(a[0], a[2], b[0], b[2]) * sharedLength(a[1], a[3], b[1], b[3]);
  return shared > 0 ? shared / (a[2] * a[3] + b[2] * b[3] - shared) : 0;
}

function sharedLength(a: number, aLength: number, b: number, bLength: number): number {
  return Math.max(0, Math.min(a + aLength / 2, b + bLength / 2) - Math.max(a - aLength / 2, b - bLength / 2));
}

/** All pairs of boxes that overlap, found by a sweep from left to right: near linear where few do. */
export function overlappingPairs(rows: readonly Box[], columns: readonly Box[]): Pair[] {
  const left = (box: Box) => box[0] - box[2] / 2;
  const order = columns.map((_, index) => index).sort((a, b) => left(at(columns, a)) - left(at(columns, b)));
  const lefts = Float64Array.from(order, (index) => left(at(columns, index)));
  const widest = columns.reduce((max, box) => Math.max(max, box[2]), 0);
  return rows.flatMap((box, row) => {
    const found: Pair[] = [];
    const right = box[0] + box[2] / 2;
    for (let next = firstFrom(lefts, left(box) - widest); next < order.length; next++) {
      if (at(lefts, next) > right) break;
      const column = at(order, next);
      const other = at(columns, column);
      if (Math.abs(other[1] - box[1]) * 2 <= other[3] + box[3]) found.push({ row, column });
    }
    return found;
  });
}

/** The first index in an ascending list whose value is at least `min`. */
function firstFrom(values: Float64Array, min: number): number {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (at(values, middle) < min) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * Pairs rows with columns at the lowest sum of costs. Only `candidates` that cost at most `limit` are paired. Rows and
 * columns that share no candidate, even indirectly, do not compete. So each connected group is solved separately.
 * @returns the chosen pairs
 */
export function pairAtLeastCost(
  candidates: readonly Pair[],
  cost: (pair: Pair) => number,
  limit: number,
): Pair[] {
  const priced = candidates.flatMap((pair) => {
    const price = cost(pair);
    return price <= limit ? [{ ...pair, price }] : [];
  });
  return [...groups(priced)].flatMap((group) => solve(group, limit));
}

interface Priced extends Pair {
  price: number;
}

function solve(group: readonly Priced[], limit: number): Pair[] {
  const [only] = group;
  if (only && group.length === 1) return [only];
  const rows = [...new Set(group.map(({ row }) => row))];
  const columns = [...new Set(group.map(({ column }) => column))];
  const rowAt = new Map(rows.map((row, index) => [row, index]));
  const columnAt = new Map(columns.map((column, index) => [column, index]));
  // All other pairs cost the same, just over the limit: the lowest sum then contains as few of them as possible.
  const costs = rows.map(() => new Array<number>(columns.length).fill(limit + 1e-4));
  for (const { row, column, price } of group) {
    at(costs, rowAt.get(row) ?? 0)[columnAt.get(column) ?? 0] = price;
  }
  return munkres(costs)
    .filter(([row, column]) => at(at(costs, row), column) <= limit)
    .map(([row, column]) => ({ row: at(rows, row), column: at(columns, column) }));
}

/** Groups pairs that share rows or columns, directly or through other pairs. Union-find over the columns. */
function groups(pairs: readonly Priced[]): Iterable<Priced[]> {
  const parents = new Map<number, number>();
  const rootOf = (column: number): number => {
    let root = column;
    for (let up = parents.get(root); up !== undefined; up = parents.get(root)) root = up;
    if (root !== column) parents.set(column, root);
    return root;
  };
  const columnOf = new Map<number, number>();
  for (const { row, column } of pairs) {
    const first = rootOf(columnOf.get(row) ?? column);
    columnOf.set(row, first);
    const second = rootOf(column);
    if (first !== second) parents.set(second, first);
  }
  return Map.groupBy(pairs, ({ column }) => rootOf(column)).values();
}

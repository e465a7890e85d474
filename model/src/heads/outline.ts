import type { Point } from './head.ts';

/** Steps to the eight neighbours of a pixel, clockwise from the right. */
const X = [1, 1, 0, -1, -1, -1, 0, 1];
const Y = [0, 1, 1, 1, 0, -1, -1, -1];

/**
 * The outer border of the largest part of a mask: the centres of its pixels, clockwise, without those inside a straight
 * run. Pixels that touch at a corner belong together. The border is that of OpenCV's `findContours`.
 * @param mask not 0 where the object is, row by row; it is overwritten
 * @returns no point for an empty mask
 */
export function outlineOf(mask: Uint8Array, width: number, height: number): Point[] {
  const start = largestPart(mask, width, height);
  if (start === undefined) return [];
  const border: Point[] = [];
  let [x, y] = [start % width, Math.floor(start / width)];
  let direction = -1;
  let firstDirection: number | undefined;
  // Nothing lies before the step to the right: the first pixel is the leftmost of the uppermost row.
  for (let from = 0; ; from = direction + (direction % 2 === 0 ? 7 : 6)) {
    const next = nextStep(mask, width, height, x, y, from);
    if (next === undefined) return [[x, y]];
    if (y * width + x === start) {
      if (next === firstDirection) return border;
      firstDirection ??= next;
    }
    if (next !== direction) border.push([x, y]);
    x += X[next] as number;
    y += Y[next] as number;
    direction = next;
  }
}

/** The first step, clockwise from `from` on, that leads to a pixel of the mask. */
function nextStep(mask: Uint8Array, width: number, height: number, x: number, y: number, from: number) {
  for (let turn = 0; turn < 8; turn++) {
    const step = (from + turn) % 8;
    const [toX, toY] = [x + (X[step] as number), y + (Y[step] as number)];
    if (toX >= 0 && toX < width && toY >= 0 && toY < height && mask[toY * width + toX] !== 0) return step;
  }
  return undefined;
}

const VISITED = 2;

/** Index of the first pixel of the part with the most pixels. */
function largestPart(mask: Uint8Array, width: number, height: number): number | undefined {
  let most = 0;
  let largest: number | undefined;
  const waiting: number[] = [];
  for (let start = 0; start < mask.length; start++) {
    if (mask[start] !== 1) continue;
    let pixels = 0;
    mask[start] = VISITED;
    waiting.push(start);
    for (let at = waiting.pop(); at !== undefined; at = waiting.pop()) {
      pixels++;
      const [x, y] = [at % width, Math.floor(at / width)];
      for (let toY = Math.max(0, y - 1); toY <= Math.min(height - 1, y + 1); toY++)
        for (let toX = Math.max(0, x - 1); toX <= Math.min(width - 1, x + 1); toX++) {
          const to = toY * width + toX;
          if (mask[to] !== 1) continue;
          mask[to] = VISITED;
          waiting.push(to);
        }
    }
    if (pixels > most) [most, largest] = [pixels, start];
  }
  return largest;
}

/**
 * Leaves out points of a closed outline (Douglas and Peucker, 1973).
 * @param tolerance how far the outline may move, in its own unit. It moves further where `limit` points are too few.
 */
export function simplify(outline: readonly Point[], tolerance: number, limit: number): Point[] {
  const { length } = outline;
  const at = (index: number) => outline[index % length] as Point;
  /** How far the outline would move without a point and those that depend on it. */
  const weights = new Float64Array(length);
  const [start] = outline;
  if (!start) return [];
  // The ring is cut at its first point and at the point that is the farthest from it.
  const distances = outline.map(([x, y]) => Math.hypot(x - start[0], y - start[1]));
  const farthest = distances.indexOf(distances.reduce((max, distance) => Math.max(max, distance), 0));
  weights[0] = weights[farthest] = Number.POSITIVE_INFINITY;
  const runs: [from: number, to: number, weight: number][] = [
    [0, farthest, Number.POSITIVE_INFINITY],
    [farthest, length, Number.POSITIVE_INFINITY],
  ];
  for (let run = runs.pop(); run; run = runs.pop()) {
    const [from, to, limit] = run;
    let [split, far] = [0, -1];
    for (let index = from + 1; index < to; index++) {
      const distance = distanceTo(at(index), at(from), at(to));
      if (distance > far) [split, far] = [index, distance];
    }
    if (far < 0) continue;
    const weight = Math.min(limit, far);
    weights[split] = weight;
    runs.push([from, split, weight], [split, to, weight]);
  }
  const least = Math.max(tolerance, weights.toSorted()[length - limit - 1] ?? 0);
  return outline.filter((_, index) => (weights[index] as number) > least);
}

/** Distance of a point to the straight line between two others, within its ends. */
function distanceTo([x, y]: Point, [x1, y1]: Point, [x2, y2]: Point): number {
  const [dx, dy] = [x2 - x1, y2 - y1];
  const along = dx === 0 && dy === 0 ? 0 : ((x - x1) * dx + (y - y1) * dy) / (dx * dx + dy * dy);
  const share = Math.min(1, Math.max(0, along));
  return Math.hypot(x - x1 - share * dx, y - y1 - share * dy);
}

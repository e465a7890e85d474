import type { RawFrame } from './raw-frame.ts';

/** Corners, each `[x, y]` as shares of the picture's sides, 0..1. */
export type Polygon = readonly (readonly [x: number, y: number])[];

/** Black in JFIF: full range, 4:2:0. */
const BLACK = [0, 128, 128];

/** A painted span of a row, in chroma samples. */
interface Run {
  row: number;
  from: number;
  to: number;
}

/**
 * Paints polygons over pictures to hide parts of them. Every pixel that a polygon touches is painted.
 * @returns paints a frame in 4:2:0 with even sides. The frame must not share its pixels with another one
 */
export function maskPainter(polygons: readonly Polygon[]): (frame: RawFrame) => void {
  let runs: Run[] = [];
  let size = '';
  return ({ width, height, data, linesize }) => {
    // Runs count in chroma samples: each stands for two by two pixels.
    if (size !== `${width}x${height}`) {
      runs = polygons.flatMap((polygon) => runsOf(polygon, width / 2, height / 2));
      size = `${width}x${height}`;
    }
    if (!data || data.length < 3) throw new RangeError('a picture without planes');
    for (const { row, from, to } of runs) {
      for (const [plane, value] of BLACK.entries()) {
        const scale = plane === 0 ? 2 : 1;
        for (let line = row * scale; line < (row + 1) * scale; line += 1) {
          const start = line * (linesize[plane] ?? 0);
          data[plane]?.fill(value, start + from * scale, start + to * scale);
        }
      }
    }
  };
}

/** Runs of a grid of `columns` x `rows` cells that a polygon touches; they may overlap. */
function runsOf(polygon: Polygon, columns: number, rows: number): Run[] {
  const corners = polygon.map(([x, y]) => [x * columns, y * rows] as const);
  const edges = corners.map(
    (corner, index) => [corner, corners[(index + 1) % corners.length] ?? corner] as const,
  );
  const runs: Run[] = [];
  for (let row = 0; row < rows; row += 1) {
    const add = (one: number, other: number) => {
      const from = Math.max(0, Math.floor(Math.min(one, other)));
      const to = Math.min(columns, Math.floor(Math.max(one, other)) + 1);
      if (to > from) runs.push({ row, from, to });
    };
    const crossings: number[] = [];
    for (const [[x1, y1], [x2, y2]] of edges) {
      const at = (y: number) => (y1 === y2 ? x1 : x1 + ((y - y1) * (x2 - x1)) / (y2 - y1));
      const [top, bottom] = [Math.max(row, Math.min(y1, y2)), Math.min(row + 1, Math.max(y1, y2))];
      // The cells that the edge crosses in this row. A horizontal edge lies in the row as a whole.
      if (top <= bottom) add(y1 === y2 ? x1 : at(top), y1 === y2 ? x2 : at(bottom));
      if (y1 <= row + 0.5 !== y2 <= row + 0.5) crossings.push(at(row + 0.5));
    }
    crossings.sort((one, other) => one - other);
    for (let index = 0; index + 1 < crossings.length; index += 2)
      add(crossings[index] ?? 0, crossings[index + 1] ?? 0);
  }
  return runs;
}

import type { Candidate, Head } from '../model/src/heads/head.ts';
import { corners } from '../model/src/heads/rows.ts';

/** Pixels of the model's input for each cell of its maps. */
const STRIDE = 4;

/**
 * CenterNet: `heat` `[N, C, H, W]`, the score of each class in each cell, 0..1, and `size` `[N, 2, H, W]`, width and
 * height in pixels. An object's centre is a peak: none of the cells around it has a higher score.
 * @see https://arxiv.org/abs/1904.07850
 */
export const centre: Head = {
  needsSuppression: false,
  preprocessing: { normalisation: 'imagenet', fit: 'stretch' },
  decode(outputs, image, { threshold }) {
    const heat = outputs.find(({ name }) => name === 'heat');
    const size = outputs.find(({ name }) => name === 'size');
    if (!heat || !size) return [];
    const [, classes = 0, rows = 0, columns = 0] = heat.dims;
    const cells = rows * columns;
    const mapOf = ({ data }: typeof heat, map: number) => data.subarray(map * cells, (map + 1) * cells);
    const [widths, heights] = [mapOf(size, 2 * image), mapOf(size, 2 * image + 1)];
    const found: Candidate[] = [];
    for (let classId = 0; classId < classes; classId++) {
      const scores = mapOf(heat, image * classes + classId);
      for (const [cell, score] of scores.entries()) {
        if (!(score >= threshold) || !isPeak(scores, cell, columns)) continue;
        const [x, y] = [cell % columns, Math.floor(cell / columns)].map((at) => STRIDE * (at + 0.5));
        found.push({ classId, score, box: corners(x ?? 0, y ?? 0, widths[cell] ?? 0, heights[cell] ?? 0) });
      }
    }
    return found;
  },
};

/** Whether no neighbour of a cell has a higher score. */
function isPeak(scores: Float32Array, cell: number, columns: number): boolean {
  const column = cell % columns;
  const beside = [-1, 0, 1].filter((step) => column + step >= 0 && column + step < columns);
  const around = [-columns, 0, columns].flatMap((down) => beside.map((step) => scores[cell + down + step]));
  return !around.some((score) => score !== undefined && score > (scores[cell] ?? 0));
}

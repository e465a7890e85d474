import type { Candidate, Head } from './head.ts';
import { argMax, corners, rowsOf } from './rows.ts';

/**
 * YOLOv5, YOLOv7 and YOLOv6: one output `[N, A, 5 + C]`, for each anchor cx, cy, w, h in pixels, the objectness, and C
 * scores of classes. A class's score must be multiplied by the objectness.
 * @see https://github.com/ultralytics/yolov5/blob/master/utils/general.py `non_max_suppression`
 */
export const yolov5: Head = {
  needsSuppression: true,
  preprocessing: { normalisation: 'unit', fit: 'centre' },
  anchors: { isChannelsFirst: false, hasObjectness: true, toBox: (values) => corners(...values) },
  decode([output], image, { threshold }) {
    const found: Candidate[] = [];
    // A score is never higher than the objectness, so that most rows can be skipped here.
    for (const row of rowsOf(output, image, 4, threshold)) {
      const best = scoreWithObjectness(row);
      const [x = 0, y = 0, w = 0, h = 0] = row;
      if (best.score >= threshold) found.push({ ...best, box: corners(x, y, w, h) });
    }
    return found;
  },
};

/** The best class of a row `[box, objectness, classes...]`; its score is the product with the objectness. */
export function scoreWithObjectness(row: Float32Array): { classId: number; score: number } {
  const at = argMax(row, 5);
  return { classId: at - 5, score: (row[4] ?? 0) * (row[at] ?? 0) };
}

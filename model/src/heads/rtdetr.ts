import type { Candidate, Head } from './head.ts';
import { argMax, corners, rowsOf } from './rows.ts';

/**
 * RT-DETR as Ultralytics exports it: one output `[N, Q, 4 + C]`, for each query cx, cy, w, h as shares of the input's
 * sides, then C scores 0..1. The best class of a query counts.
 * @see https://github.com/ultralytics/ultralytics/blob/main/ultralytics/models/rtdetr/predict.py
 */
export const rtdetr: Head = {
  needsSuppression: false,
  preprocessing: { normalisation: 'unit', fit: 'stretch' },
  decode([output], image, { threshold, inputWidth, inputHeight }) {
    const found: Candidate[] = [];
    for (const row of rowsOf(output, image)) {
      const at = argMax(row, 4);
      const score = row[at] as number;
      if (!(score >= threshold)) continue;
      const [x = 0, y = 0, w = 0, h = 0] = row;
      const box = corners(x * inputWidth, y * inputHeight, w * inputWidth, h * inputHeight);
      found.push({ classId: at - 4, score, box });
    }
    return found;
  },
};

import type { Head } from './head.ts';
import { rowsOf } from './rows.ts';

/**
 * YOLOv10, YOLO26 and exports with suppression inside: one output `[N, 300, 6]`, for each object x1, y1, x2, y2 in
 * pixels, score, class.
 * @see https://docs.ultralytics.com/models/yolo26/
 */
export const end2end: Head = {
  needsSuppression: false,
  preprocessing: { normalisation: 'unit', fit: 'centre' },
  decode([output], image, { threshold }) {
    return Array.from(rowsOf(output, image, 4, threshold), (row) => {
      const [x1 = 0, y1 = 0, x2 = 0, y2 = 0, score = 0, classId = 0] = row;
      return { classId: Math.round(classId), score, box: [x1, y1, x2, y2] };
    });
  },
};

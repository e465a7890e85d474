import type { Head } from './head.ts';
import { corners } from './rows.ts';

/**
 * YOLOv8, YOLO11 and NanoDet-g as converted here: one output `[N, 4 + C, A]`, for each of A anchors cx, cy, w, h in
 * pixels, then C scores 0..1. The best class of an anchor counts.
 * @see https://docs.ultralytics.com/modes/export/
 */
export const yolov8: Head = {
  needsSuppression: true,
  preprocessing: { normalisation: 'unit', fit: 'centre' },
  decode([output], image, { threshold }) {
    if (!output) return [];
    const [, rows = 0, anchors = 0] = output.dims;
    const start = image * rows * anchors;
    const data = output.data.subarray(start, start + rows * anchors);
    return bestPerAnchor(data, anchors, rows - 4, threshold).map(({ anchor, classId, score }) => {
      const [x, y, w, h] = [0, 1, 2, 3].map((row) => data[row * anchors + anchor] ?? 0) as Four;
      return { classId, score, box: corners(x, y, w, h) };
    });
  },
};

type Four = [number, number, number, number];

interface Best {
  anchor: number;
  classId: number;
  score: number;
}

/** Scans the scores in the order they lie in memory; nearly all are under the threshold and cost one comparison. */
function bestPerAnchor(data: Float32Array, anchors: number, classes: number, threshold: number): Best[] {
  const found = new Map<number, Best>();
  for (let classId = 0, at = 4 * anchors; classId < classes; classId++) {
    for (let anchor = 0; anchor < anchors; anchor++, at++) {
      const score = data[at] as number;
      if (score < threshold) continue;
      const best = found.get(anchor);
      if (!best) found.set(anchor, { anchor, classId, score });
      else if (score > best.score) Object.assign(best, { classId, score });
    }
  }
  return [...found.values()];
}

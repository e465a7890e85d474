import type { Candidate, Head } from './head.ts';
import { argMax, corners, rowsOf } from './rows.ts';

/**
 * YOLOv8, YOLO11 and NanoDet-g as converted here: one output `[N, 4 + C, A]`, for each of A anchors cx, cy, w, h in
 * pixels, then C scores 0..1. The best class of an anchor counts.
 * @see https://docs.ultralytics.com/modes/export/
 */
export const yolov8: Head = {
  needsSuppression: true,
  preprocessing: { normalisation: 'unit', fit: 'centre' },
  anchors: { isChannelsFirst: true, hasObjectness: false, toBox: (values) => corners(...values) },
  decode([output], image, { threshold }) {
    if (!output) return [];
    const [, rows = 0, anchors = 0] = output.dims;
    const start = image * rows * anchors;
    const data = output.data.subarray(start, start + rows * anchors);
    return bestPerAnchor(data, anchors, threshold).map(({ anchor, classId, score }) => {
      const [x, y, w, h] = [0, 1, 2, 3].map((row) => data[row * anchors + anchor] ?? 0) as Four;
      return { classId, score, box: corners(x, y, w, h) };
    });
  },
};

/** The same, transposed as some exporters do: `[N, A, 4 + C]`. */
export const yolov8Rows: Head = {
  ...yolov8,
  anchors: { isChannelsFirst: false, hasObjectness: false, toBox: (values) => corners(...values) },
  decode([output], image, { threshold }) {
    const found: Candidate[] = [];
    for (const row of rowsOf(output, image)) {
      const at = argMax(row, 4);
      const score = row[at] as number;
      const [x = 0, y = 0, w = 0, h = 0] = row;
      if (score >= threshold) found.push({ classId: at - 4, score, box: corners(x, y, w, h) });
    }
    return found;
  },
};

type Four = [number, number, number, number];

interface Best {
  anchor: number;
  classId: number;
  score: number;
}

function bestPerAnchor(data: Float32Array, anchors: number, threshold: number): Best[] {
  const found = new Map<number, Best>();
  for (
    let at = nextOver(data, 4 * anchors, threshold);
    at < data.length;
    at = nextOver(data, at + 1, threshold)
  ) {
    const [anchor, classId, score] = [at % anchors, Math.floor(at / anchors) - 4, data[at] as number];
    const best = found.get(anchor);
    if (!best) found.set(anchor, { anchor, classId, score });
    else if (score > best.score) Object.assign(best, { classId, score });
  }
  return [...found.values()];
}

/**
 * The first place from `from` on that holds `threshold` or more, the end without one. Nearly all scores are under it:
 * looking at four at a time takes half as long as one by one.
 */
function nextOver(data: Float32Array, from: number, threshold: number): number {
  // What is no number is under it.
  const isUnder = (place: number) => !((data[place] as number) >= threshold);
  let at = from;
  while (at + 3 < data.length && isUnder(at) && isUnder(at + 1) && isUnder(at + 2) && isUnder(at + 3))
    at += 4;
  while (at < data.length && isUnder(at)) at += 1;
  return at;
}

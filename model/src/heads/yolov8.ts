import type { AnchorLayout, Candidate, Head, OutputTensor } from './head.ts';
import { corners, decodeRows } from './rows.ts';

/**
 * YOLOv8, YOLO11 and NanoDet-g as converted here: one output `[N, 4 + C, A]`, for each of A anchors cx, cy, w, h in
 * pixels, then C scores 0..1. The best class of an anchor counts.
 * @see https://docs.ultralytics.com/modes/export/
 */
export const yolov8 = {
  needsSuppression: true,
  preprocessing: { normalisation: 'unit', fit: 'centre' },
  anchors: { isChannelsFirst: true, hasObjectness: false, toBox: (values) => corners(...values) },
  decode: ([output], image, { threshold }) => decodeAnchors(output, image, threshold),
} satisfies Head;

/** @param extra number of rows after the classes; they become the candidate's extra values */
export function decodeAnchors(
  output: OutputTensor | undefined,
  image: number,
  threshold: number,
  extra = 0,
): Candidate[] {
  if (!output) return [];
  const [, rows = 0, anchors = 0] = output.dims;
  const start = image * rows * anchors;
  const data = output.data.subarray(start, start + rows * anchors);
  const classes = rows - extra;
  return bestPerAnchor(data.subarray(0, classes * anchors), anchors, threshold).map(
    ({ anchor, classId, score }) => {
      const at = (row: number) => data[row * anchors + anchor] ?? 0;
      const box = corners(at(0), at(1), at(2), at(3));
      if (extra === 0) return { classId, score, box };
      const values = Float32Array.from({ length: extra }, (_, row) => at(classes + row));
      return { classId, score, box, extra: values };
    },
  );
}

const rows: AnchorLayout = { ...yolov8.anchors, isChannelsFirst: false };

/** The same output transposed: `[N, A, 4 + C]`, as some exporters write it. */
export const yolov8Rows: Head = { ...yolov8, anchors: rows, decode: decodeRows(rows) };

interface Best {
  anchor: number;
  classId: number;
  score: number;
}

function bestPerAnchor(data: Float32Array, anchors: number, threshold: number): Best[] {
  if (threshold === Number.NEGATIVE_INFINITY) return bestOfAll(data, anchors);
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

/** The best class of every anchor. */
function bestOfAll(data: Float32Array, anchors: number): Best[] {
  const bests = Array.from({ length: anchors }, (_, anchor) => ({
    ...{ anchor, classId: -1, score: Number.NEGATIVE_INFINITY },
  }));
  for (let classId = 0, at = 4 * anchors; at < data.length; classId++) {
    for (const best of bests) {
      const score = data[at++] as number;
      if (!(score > best.score || (best.classId < 0 && score === best.score))) continue;
      best.classId = classId;
      best.score = score;
    }
  }
  // An anchor whose scores are all NaN has no class.
  return bests.filter(({ classId }) => classId >= 0);
}

/**
 * @returns the first index from `from` on whose value is at least `threshold`; the length if there is none
 *
 * Nearly all scores are below the threshold. So eight of them are compared at a time, and as integers: floats from 0 on
 * have the same order as their bits read as integers. This takes half of the time.
 */
function nextOver(data: Float32Array, from: number, threshold: number): number {
  const words = new Int32Array(data.buffer, data.byteOffset, data.length);
  // For a threshold of 0 or less every value must be looked at as a float.
  const least = threshold > 0 ? (new Int32Array(Float32Array.of(threshold).buffer)[0] as number) : -(2 ** 31);
  let at = from;
  for (; at < words.length; at++) {
    while (at + 7 < words.length && areUnder(words, at, least)) at += 8;
    // NaN read as an integer may be above the threshold: the float decides.
    if ((data[at] as number) >= threshold) return at;
  }
  return words.length;
}

/** Whether all eight values from `at` on are below `least`. */
function areUnder(words: Int32Array, at: number, least: number): boolean {
  return (
    (words[at] as number) < least &&
    (words[at + 1] as number) < least &&
    (words[at + 2] as number) < least &&
    (words[at + 3] as number) < least &&
    (words[at + 4] as number) < least &&
    (words[at + 5] as number) < least &&
    (words[at + 6] as number) < least &&
    (words[at + 7] as number) < least
  );
}

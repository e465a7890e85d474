import type { AnchorLayout, Candidate, Head } from './head.ts';
import { fromShares, rowsOf } from './rows.ts';

/**
 * One output `[N, rows, columns]`: each row an object with its box, its score and its class.
 * @param toBox converts the box; without it, the box is two corners in pixels
 * @param extra first column of the values of a task beyond detection
 */
function listOf(toBox?: AnchorLayout['toBox'], extra?: number): Head['decode'] {
  return ([output], image, options) =>
    Array.from(rowsOf(output, image, 4, options.threshold), (row): Candidate => {
      const [a = 0, b = 0, c = 0, d = 0] = row;
      const box: Candidate['box'] = toBox?.([a, b, c, d], 0, options) ?? [a, b, c, d];
      const one = { classId: row[5] as number, score: row[4] as number, box };
      return extra === undefined ? one : { ...one, extra: row.subarray(extra) };
    });
}

/**
 * YOLOv10, YOLO26 and exports with suppression inside: one output `[N, 300, 6]`, for each object x1, y1, x2, y2 in
 * pixels, score, class.
 * @see https://docs.ultralytics.com/models/yolo26/
 */
export const end2end: Head = {
  needsSuppression: false,
  preprocessing: { normalisation: 'unit', fit: 'centre' },
  corners: 'list',
  decode: listOf(),
};

/** The same columns, and after them the values of a task beyond detection: they become the candidate's extra values. */
export const decodeList = listOf(undefined, 6);

/**
 * The same columns, with a row for every anchor and without suppression: `[N, A, 6]`.
 * @see https://github.com/marcoslucianops/DeepStream-Yolo
 */
export const deepstream: Head = { ...end2end, needsSuppression: true };

/**
 * RT-DETR as Ultralytics exports it since 8.4: one output `[N, 300, 6]`, for each object cx, cy, w, h as shares of the
 * input's sides, score, class.
 */
export const rtdetrTop: Head = {
  needsSuppression: false,
  preprocessing: { normalisation: 'unit', fit: 'stretch' },
  decode: listOf(fromShares),
};

/** One output `[objects of all pictures, 7]`: number of the picture, x1, y1, x2, y2 in pixels, then class and score. */
const ofAllPictures = (classAt: 5 | 6, scoreAt: 5 | 6): Head => ({
  needsSuppression: false,
  preprocessing: { normalisation: 'unit', fit: 'centre' },
  decode: ([output], image, { threshold }) =>
    Array.from(rowsOf(output, 0, scoreAt, threshold))
      .filter(([picture]) => picture === image)
      .map((row): Candidate => {
        const [, x1 = 0, y1 = 0, x2 = 0, y2 = 0] = row;
        return { classId: row[classAt] as number, score: row[scoreAt] as number, box: [x1, y1, x2, y2] };
      }),
});

/** YOLOv7 exported with `--end2end --max-wh`. */
export const yolov7Nms = ofAllPictures(5, 6);

/**
 * YOLO-NAS and PP-YOLOE by super-gradients' `export` in `FLAT_FORMAT`.
 * @see https://github.com/Deci-AI/super-gradients/blob/master/documentation/source/models_export.md
 */
export const yoloNasFlat = ofAllPictures(6, 5);

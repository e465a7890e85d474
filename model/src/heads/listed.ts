import type { AnchorLayout, Candidate, Head } from './head.ts';
import { fromShares, rowsOf } from './rows.ts';

/** Meaning of the columns in a list of objects. */
interface Columns {
  /** First of the four columns of the box. */
  box: number;
  score: number;
  classId: number;
  /** Left out, the columns are corners in pixels. */
  toBox?: AnchorLayout['toBox'];
  /** First of the values of a task beyond detection, up to the last column. */
  extra?: number;
}

/** One output `[N, rows, columns]`: each row an object with its box, one score and one class. */
function listOf(columns: Columns): Head['decode'] {
  return ([output], image, options) =>
    Array.from(rowsOf(output, image, columns.score, options.threshold), (row): Candidate => {
      const [a = 0, b = 0, c = 0, d = 0] = row.subarray(columns.box);
      const box: Candidate['box'] = columns.toBox?.([a, b, c, d], 0, options) ?? [a, b, c, d];
      const one = { classId: row[columns.classId] as number, score: row[columns.score] as number, box };
      return columns.extra === undefined ? one : { ...one, extra: row.subarray(columns.extra) };
    });
}

const END2END: Columns = { box: 0, score: 4, classId: 5 };

/**
 * YOLOv10, YOLO26 and exports with suppression inside: one output `[N, 300, 6]`, for each object x1, y1, x2, y2 in
 * pixels, score, class.
 * @see https://docs.ultralytics.com/models/yolo26/
 */
export const end2end: Head = {
  needsSuppression: false,
  preprocessing: { normalisation: 'unit', fit: 'centre' },
  corners: 'list',
  decode: listOf(END2END),
};

/** The same columns, and after them the values of a task beyond detection: they become the candidate's extra values. */
export const decodeList = listOf({ ...END2END, extra: 6 });

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
  decode: listOf({ box: 0, score: 4, classId: 5, toBox: fromShares }),
};

/**
 * YOLOv7 exported with `--end2end --max-wh`: one output `[objects of all pictures, 7]`: number of the picture, x1, y1,
 * x2, y2 in pixels, class, score.
 */
export const yolov7Nms: Head = {
  needsSuppression: false,
  preprocessing: { normalisation: 'unit', fit: 'centre' },
  decode(outputs, image, options) {
    const [output] = outputs;
    if (!output) return [];
    const rows = [...rowsOf(output, 0)].filter(([picture]) => picture === image);
    const dims = [1, rows.length, 7];
    const data = new Float32Array(rows.flatMap((row) => [...row]));
    return listOf({ box: 1, score: 6, classId: 5 })([{ ...output, dims, data }], 0, options);
  },
};

import type { Head } from './head.ts';
import { decodeRows, fromShares } from './rows.ts';

/**
 * RT-DETR as Ultralytics exports it: one output `[N, Q, 4 + C]`, for each query cx, cy, w, h as shares of the input's
 * sides, then C scores 0..1. The best class of a query counts.
 * @see https://github.com/ultralytics/ultralytics/blob/main/ultralytics/models/rtdetr/predict.py
 */
export const rtdetr: Head = {
  needsSuppression: false,
  preprocessing: { normalisation: 'unit', fit: 'stretch' },
  decode: decodeRows({ hasObjectness: false, toBox: fromShares }),
};

import type { Candidate, Head } from './head.ts';
import { argMax, boxesOf, classesOf, decodeRows, fromShares, rowsOf } from './rows.ts';

/**
 * D-FINE, RT-DETR and others of the DETR family exported with raw outputs: boxes `[N, Q, 4]`, cx, cy, w, h as shares of
 * the input's sides, and logits `[N, Q, C]`, one sigmoid a class. Each pair of query and class is a candidate.
 * @see https://github.com/huggingface/transformers `RTDetrImageProcessor.post_process_object_detection`
 */
export const detr: Head = {
  needsSuppression: false,
  preprocessing: { normalisation: 'unit', fit: 'stretch' },
  decode: decodeQueries((logits, threshold) => classesOf(logits, threshold, sigmoid)),
};

type Classes = Iterable<Pick<Candidate, 'classId' | 'score'>>;
const sigmoid = (logit: number) => 1 / (1 + Math.exp(-logit));

/** Reads boxes and logits, query by query. @param read turns a query's logits into classes and their scores */
function decodeQueries(read: (logits: Float32Array, threshold: number) => Classes): Head['decode'] {
  return (outputs, image, options) => {
    const { threshold } = options;
    const boxes = boxesOf(outputs);
    const logits = outputs.find((output) => output !== boxes);
    const found: Candidate[] = [];
    const boxRows = rowsOf(boxes, image);
    for (const row of rowsOf(logits, image)) {
      const [x = 0, y = 0, w = 0, h = 0] = boxRows.next().value ?? [];
      const box = fromShares([x, y, w, h], 0, options);
      for (const one of read(row, threshold)) if (one.score >= threshold) found.push({ ...one, box });
    }
    return found;
  };
}

/**
 * DETR and YOLOS of Hugging Face: the same outputs, but with one softmax over all classes. The last class means that
 * there is no object.
 * @see https://github.com/huggingface/transformers `DetrImageProcessor.post_process_object_detection`
 */
export const detrSoftmax: Head = {
  needsSuppression: false,
  preprocessing: { normalisation: 'imagenet', fit: 'stretch' },
  decode: decodeQueries((logits) => {
    const classId = argMax(logits.subarray(0, -1));
    const sum = logits.reduce((total, logit) => total + Math.exp(logit - (logits[classId] as number)), 0);
    return [{ classId, score: 1 / sum }];
  }),
};

/** RF-DETR: the same outputs, pixels normalised by ImageNet's mean and deviation. */
export const rfdetr: Head = { ...detr, preprocessing: { normalisation: 'imagenet', fit: 'stretch' } };

/**
 * RT-DETR as Ultralytics exports it: one output `[N, Q, 4 + C]`, for each query cx, cy, w, h as shares of the input's
 * sides, then C scores 0..1. The best class of a query counts.
 * @see https://github.com/ultralytics/ultralytics/blob/main/ultralytics/models/rtdetr/predict.py
 */
export const rtdetr: Head = {
  ...detr,
  decode: decodeRows({ hasObjectness: false, toBox: fromShares }),
};

import type { Candidate, Head, OutputTensor } from './head.ts';
import { argMax, rowsOf } from './rows.ts';

/**
 * YOLO-NAS, PP-YOLOE and DAMO-YOLO: boxes `[N, A, 4]`, x1, y1, x2, y2 in pixels, and scores 0..1, `[N, A, C]` or `[N, C, A]`.
 * The best class of an anchor counts.
 * @see https://github.com/Deci-AI/super-gradients/blob/master/documentation/source/YoloNASQuickstart.md
 */
export const boxesScores: Head = {
  needsSuppression: true,
  preprocessing: { normalisation: 'unit', fit: 'centre' },
  decode(outputs, image, { threshold }) {
    const boxes = outputs.find(({ dims }) => dims.at(-1) === 4);
    const scores = outputs.find((output) => output !== boxes);
    if (!boxes || !scores) return [];
    const anchors = boxes.dims.at(-2) ?? 0;
    const found: Candidate[] = [];
    const boxRows = rowsOf(boxes, image);
    for (const row of rowsOf(byAnchor(scores, anchors), image)) {
      const [x1 = 0, y1 = 0, x2 = 0, y2 = 0] = boxRows.next().value ?? [];
      const classId = argMax(row);
      const score = row[classId] as number;
      if (score >= threshold) found.push({ classId, score, box: [x1, y1, x2, y2] });
    }
    return found;
  },
};

/** `[N, C, A]` as `[N, A, C]`. */
function byAnchor(scores: OutputTensor, anchors: number): OutputTensor {
  const [pictures = 1, rows = 0, columns = 0] = scores.dims;
  if (rows === anchors) return scores;
  const data = new Float32Array(scores.data.length);
  for (let at = 0; at < data.length; at++) {
    const [inPicture, picture] = [at % (rows * columns), Math.floor(at / (rows * columns))];
    const [row, column] = [Math.floor(inPicture / columns), inPicture % columns];
    data[picture * rows * columns + column * rows + row] = scores.data[at] as number;
  }
  return { ...scores, dims: [pictures, columns, rows], data };
}

/** What the outputs of models with suppression inside are called. */
interface Names {
  count?: RegExp;
  boxes: RegExp;
  scores: RegExp;
  classes: RegExp;
}

/** Objects in outputs of their own: boxes, scores, classes, and how many of them count. */
function inOutputs(
  names: Names,
  toBox: (box: Float32Array, width: number, height: number) => Candidate['box'],
  firstClass: number,
): Head['decode'] {
  return (outputs, image, { threshold, inputWidth, inputHeight }) => {
    const find = (pattern: RegExp) => outputs.find(({ name }) => pattern.test(name));
    const [boxes, scores, classes] = [find(names.boxes), find(names.scores), find(names.classes)];
    if (!boxes || !scores || !classes) return [];
    const most = boxes.dims.at(-2) ?? 0;
    const count = names.count ? find(names.count)?.data[image] : undefined;
    const found: Candidate[] = [];
    let index = image * most;
    for (const box of rowsOf(boxes, image)) {
      if (count !== undefined && index - image * most >= count) break;
      const score = scores.data[index] as number;
      const classId = (classes.data[index] as number) - firstClass;
      index++;
      if (score >= threshold) found.push({ classId, score, box: toBox(box, inputWidth, inputHeight) });
    }
    return found;
  };
}

const asCorners = ([x1 = 0, y1 = 0, x2 = 0, y2 = 0]: Float32Array): Candidate['box'] => [x1, y1, x2, y2];

/**
 * Exports with TensorRT's EfficientNMS: `num_dets` `[N, 1]`, `det_boxes` `[N, Q, 4]` in pixels, `det_scores`, `det_classes`.
 * @see https://github.com/NVIDIA/TensorRT/tree/main/plugin/efficientNMSPlugin
 */
export const efficientNms: Head = {
  needsSuppression: false,
  preprocessing: { normalisation: 'unit', fit: 'centre' },
  decode: inOutputs(
    { count: /num_?det/i, boxes: /boxes/i, scores: /scores/i, classes: /classes/i },
    asCorners,
    0,
  ),
};

/**
 * torchvision's detectors: `boxes` `[Q, 4]` in pixels, `labels`, `scores`, of one picture. Class 0 is the background.
 * @see https://pytorch.org/vision/stable/models.html#object-detection
 */
export const torchvision: Head = {
  needsSuppression: false,
  preprocessing: { normalisation: 'unit', fit: 'centre' },
  decode: inOutputs({ boxes: /boxes/i, scores: /scores/i, classes: /labels/i }, asCorners, 0),
};

/**
 * TensorFlow's Object Detection API: `detection_boxes` `[N, Q, 4]` as y1, x1, y2, x2 in shares, `detection_scores`,
 * `detection_classes` from 1, `num_detections`.
 * @see https://github.com/tensorflow/models/blob/master/research/object_detection/exporter_lib_v2.py
 */
export const tfDetection: Head = {
  needsSuppression: false,
  preprocessing: { normalisation: 'rgb255', fit: 'stretch' },
  decode: inOutputs(
    {
      count: /num_detections/,
      boxes: /detection_boxes/,
      scores: /detection_scores/,
      classes: /detection_classes/,
    },
    ([y1 = 0, x1 = 0, y2 = 0, x2 = 0], width, height) => [x1 * width, y1 * height, x2 * width, y2 * height],
    1,
  ),
};

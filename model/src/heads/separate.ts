import type { Candidate, Head, OutputTensor } from './head.ts';
import { boxesOf, classesOf, rowsOf } from './rows.ts';

/**
 * YOLO-NAS, PP-YOLOE and DAMO-YOLO: boxes `[N, A, 4]`, x1, y1, x2, y2 in pixels, and scores 0..1, `[N, A, C]` or `[N,
 * C, A]`. Each pair of anchor and class is a candidate.
 * @see https://github.com/Deci-AI/super-gradients/blob/master/documentation/source/YoloNASQuickstart.md
 */
export const boxesScores: Head = {
  needsSuppression: true,
  preprocessing: { normalisation: 'unit', fit: 'centre' },
  corners: 'output',
  decode(outputs, image, { threshold }) {
    const boxes = boxesOf(outputs);
    const scores = outputs.find((output) => output !== boxes);
    if (!boxes || !scores) return [];
    const anchors = boxes.dims.at(-2) ?? 0;
    const found: Candidate[] = [];
    const boxRows = rowsOf(boxes, image);
    for (const row of rowsOf(byAnchor(scores, anchors), image)) {
      const [x1 = 0, y1 = 0, x2 = 0, y2 = 0] = boxRows.next().value ?? [];
      for (const one of classesOf(row, threshold, (score) => score))
        found.push({ ...one, box: [x1, y1, x2, y2] });
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

/** Names of outputs: of TensorRT's suppression, and of super-gradients, MMYOLO and others that follow it. */
export const COUNT = /num_?(det|pred)/i;
export const CLASSES = /classes|labels/i;

/** Names of the outputs of models that suppress overlapping boxes themselves. */
interface Names {
  count?: RegExp;
  boxes: RegExp;
  scores: RegExp;
  classes: RegExp;
}

const asCorners = ([x1 = 0, y1 = 0, x2 = 0, y2 = 0]: Float32Array): Candidate['box'] => [x1, y1, x2, y2];

/**
 * Reads boxes, scores and classes from separate outputs. An optional output says how many objects there are. Outputs
 * without names are in torchvision's order.
 */
function inOutputs(
  names: Names,
  toBox: (box: Float32Array, width: number, height: number) => Candidate['box'] = asCorners,
  firstClass = 0,
): Head['decode'] {
  return (outputs, image, { threshold, inputWidth, inputHeight }) => {
    const find = (pattern: RegExp, place = -1) =>
      outputs.find(({ name }) => pattern.test(name)) ?? outputs[place];
    const [boxes, classes, scores] = [names.boxes, names.classes, names.scores].map(find);
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

/**
 * Exports with TensorRT's EfficientNMS: `num_dets` `[N, 1]`, `det_boxes` `[N, Q, 4]` in pixels, `det_scores`,
 * `det_classes`.
 * @see https://github.com/NVIDIA/TensorRT/tree/main/plugin/efficientNMSPlugin
 */
export const efficientNms: Head = {
  needsSuppression: false,
  preprocessing: { normalisation: 'unit', fit: 'centre' },
  corners: 'output',
  decode: inOutputs({ count: COUNT, boxes: /boxes/i, scores: /scores/i, classes: CLASSES }),
};

/**
 * torchvision's detectors: `boxes` `[Q, 4]` in pixels, `labels`, `scores`, of one picture. Class 0 is the background.
 * @see https://pytorch.org/vision/stable/models.html#object-detection
 */
export const torchvision: Head = {
  ...efficientNms,
  decode: inOutputs({ boxes: /boxes/i, scores: /scores/i, classes: CLASSES }),
};

/**
 * D-FINE, DEIM and RT-DETR as their own projects export them: `labels` `[N, Q]`, `boxes` `[N, Q, 4]` in pixels of the
 * size that the input `orig_target_sizes` states, `scores`.
 * @see https://github.com/Peterande/D-FINE `tools/deployment/export_onnx.py`
 */
export const dfine: Head = { ...torchvision, preprocessing: { normalisation: 'unit', fit: 'stretch' } };

/**
 * mmdetection by MMDeploy: `dets` `[N, Q, 5]`, corners in pixels and score, and `labels` `[N, Q]`.
 * @see https://github.com/open-mmlab/mmdeploy `docs/en/04-supported-codebases/mmdet.md`
 */
export const mmdet: Head = {
  needsSuppression: false,
  preprocessing: { normalisation: 'imagenet', fit: 'corner' },
  decode(outputs, image, { threshold }) {
    const dets = outputs.find(({ dims }) => dims.at(-1) === 5);
    const labels = outputs.find((output) => output !== dets);
    const most = dets?.dims.at(-2) ?? 0;
    return [...rowsOf(dets, image)].flatMap(([x1 = 0, y1 = 0, x2 = 0, y2 = 0, score = 0], index) => {
      const classId = labels?.data[image * most + index] ?? Number.NaN;
      return score >= threshold ? [{ classId, score, box: [x1, y1, x2, y2] }] : [];
    });
  },
};

/**
 * PaddleDetection with its suppression: `[objects of all pictures, 6]`, class, score and corners in pixels, and how
 * many objects each picture has, `[N]`.
 * @see https://github.com/PaddlePaddle/PaddleDetection `deploy/EXPORT_ONNX_MODEL.md`
 */
export const paddle: Head = {
  needsSuppression: false,
  preprocessing: { normalisation: 'unit', fit: 'stretch' },
  decode(outputs, image, { threshold }) {
    const counts = [...(outputs.find(({ dims }) => dims.length === 1)?.data ?? [])];
    const before = counts.slice(0, image).reduce((sum, count) => sum + count, 0);
    const objects = outputs.find(({ dims }) => dims.length === 2);
    // A picture without objects may have one row with class -1.
    return [...rowsOf(objects, 0)]
      .slice(before, before + (counts[image] ?? 0))
      .flatMap(([classId = -1, score = 0, x1 = 0, y1 = 0, x2 = 0, y2 = 0]) =>
        score >= threshold && classId >= 0 ? [{ classId, score, box: [x1, y1, x2, y2] }] : [],
      );
  },
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

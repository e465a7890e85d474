import { classify } from './classify.ts';
import { detr, detrSoftmax, rfdetr, rtdetr } from './detr.ts';
import type { Head } from './head.ts';
import { deepstream, end2end, rtdetrTop, yoloNasFlat, yolov7Nms } from './listed.ts';
import { end2endObb, yolov8Obb } from './obb.ts';
import { end2endPose, yolov8Pose } from './pose.ts';
import { end2endSegment, yolov5Segment, yolov8Segment } from './segment.ts';
import { boxesScores, dfine, efficientNms, mmdet, paddle, tfDetection, torchvision } from './separate.ts';
import { yolov8, yolov8Rows } from './yolov8.ts';
import { yolov5, yolox, yoloxDecoded } from './yolox.ts';

export * from './head.ts';
export * from './nms.ts';
export * from './selected.ts';

/** Every supported family of models, by its name for `--head`. */
export const heads = {
  yolov8,
  yolov5,
  'yolov8-rows': yolov8Rows,
  yolox,
  'yolox-decoded': yoloxDecoded,
  end2end,
  'yolov7-nms': yolov7Nms,
  'yolo-nas-flat': yoloNasFlat,
  deepstream,
  rtdetr,
  'rtdetr-top': rtdetrTop,
  detr,
  'detr-softmax': detrSoftmax,
  rfdetr,
  'boxes-scores': boxesScores,
  'efficient-nms': efficientNms,
  torchvision,
  dfine,
  mmdet,
  paddle,
  'tf-detection': tfDetection,
  'yolov8-segment': yolov8Segment,
  'yolov5-segment': yolov5Segment,
  'end2end-segment': end2endSegment,
  'yolov8-pose': yolov8Pose,
  'end2end-pose': end2endPose,
  'yolov8-obb': yolov8Obb,
  'end2end-obb': end2endObb,
  classify,
} satisfies Record<string, Head>;
export type HeadName = keyof typeof heads;

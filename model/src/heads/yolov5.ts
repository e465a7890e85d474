import type { AnchorLayout, Head } from './head.ts';
import { corners, decodeRows } from './rows.ts';

const anchors: AnchorLayout = {
  ...{ isChannelsFirst: false, hasObjectness: true },
  toBox: (values) => corners(...values),
};

/**
 * YOLOv5, YOLOv7 and YOLOv6: one output `[N, A, 5 + C]`, for each anchor cx, cy, w, h in pixels, the objectness, and C
 * scores of classes. A class's score must be multiplied by the objectness.
 * @see https://github.com/ultralytics/yolov5/blob/master/utils/general.py `non_max_suppression`
 */
export const yolov5: Head = {
  needsSuppression: true,
  preprocessing: { normalisation: 'unit', fit: 'centre' },
  anchors,
  decode: decodeRows(anchors),
};

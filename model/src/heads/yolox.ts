import type { AnchorLayout, Head } from './head.ts';
import { corners, decodeRows } from './rows.ts';

/** Pixels between two cells, for each level in the order of the output. */
export const STRIDES = [8, 16, 32];

const cells: AnchorLayout = {
  ...{ isChannelsFirst: false, hasObjectness: true },
  toBox([dx, dy, w, h], anchor, { inputWidth, inputHeight }) {
    const { x, y, stride } = cellOf(anchor, inputWidth, inputHeight);
    return corners((x + dx) * stride, (y + dy) * stride, Math.exp(w) * stride, Math.exp(h) * stride);
  },
};

/**
 * YOLOX, exported without decoding: one output `[N, A, 5 + C]`. Each cell has the offset of the centre and the
 * logarithm of the size, both in strides, then the objectness and the class scores, 0..1.
 * @see https://github.com/Megvii-BaseDetection/YOLOX/blob/main/yolox/utils/demo_utils.py `demo_postprocess`
 */
export const yolox: Head = {
  needsSuppression: true,
  preprocessing: { normalisation: 'bgr255', fit: 'corner' },
  anchors: cells,
  decode: decodeRows(cells),
};

/** Of YOLOv5: boxes in pixels. */
export const anchors: AnchorLayout = { ...cells, toBox: (values) => corners(...values) };

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

/** YOLOX, exported with `--decode_in_inference`: boxes in pixels, in the layout of YOLOv5. */
export const yoloxDecoded: Head = { ...yolov5, preprocessing: yolox.preprocessing };

/** The cell of an anchor: row by row, level by level. */
function cellOf(anchor: number, width: number, height: number) {
  let first = 0;
  for (const stride of STRIDES) {
    const columns = Math.floor(width / stride);
    const count = columns * Math.floor(height / stride);
    const index = anchor - first;
    if (index < count) return { x: index % columns, y: Math.floor(index / columns), stride };
    first += count;
  }
  throw new RangeError(`there is no anchor ${anchor} in ${width} x ${height}`);
}

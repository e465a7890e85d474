import type { Candidate, Head } from './head.ts';
import { corners, rowsOf } from './rows.ts';
import { scoreWithObjectness, yolov5 } from './yolov5.ts';

/** Pixels between two cells, for each level in the order of the output. */
export const STRIDES = [8, 16, 32];

/**
 * YOLOX, exported without decoding: one output `[N, A, 5 + C]`. Each cell has the offset of the centre and the
 * logarithm of the size, both in strides, then the objectness and the class scores, 0..1.
 * @see https://github.com/Megvii-BaseDetection/YOLOX/blob/main/yolox/utils/demo_utils.py `demo_postprocess`
 */
export const yolox: Head = {
  needsSuppression: true,
  preprocessing: { normalisation: 'bgr255', fit: 'corner' },
  anchors: {
    isChannelsFirst: false,
    hasObjectness: true,
    toBox: (values, anchor, { inputWidth, inputHeight }) =>
      boxAt(cellOf(anchor, inputWidth, inputHeight), values),
  },
  decode([output], image, { threshold, inputWidth, inputHeight }) {
    const found: Candidate[] = [];
    const rows = rowsOf(output, image);
    for (const cell of cells(inputWidth, inputHeight)) {
      const row = rows.next().value;
      if (!row) break;
      if (!((row[4] as number) >= threshold)) continue;
      const best = scoreWithObjectness(row);
      if (!(best.score >= threshold)) continue;
      const [dx = 0, dy = 0, w = 0, h = 0] = row;
      found.push({ ...best, box: boxAt(cell, [dx, dy, w, h]) });
    }
    return found;
  },
};

/** YOLOX, exported with `--decode_in_inference`: boxes in pixels, in the layout of YOLOv5. */
export const yoloxDecoded: Head = { ...yolov5, preprocessing: yolox.preprocessing };

interface Cell {
  x: number;
  y: number;
  stride: number;
}

function boxAt({ x, y, stride }: Cell, [dx, dy, w, h]: readonly [number, number, number, number]) {
  return corners((x + dx) * stride, (y + dy) * stride, Math.exp(w) * stride, Math.exp(h) * stride);
}

/** The `anchor`-th of {@link cells}. */
function cellOf(anchor: number, width: number, height: number): Cell {
  let first = 0;
  for (const stride of STRIDES) {
    const columns = Math.floor(width / stride);
    const count = columns * Math.floor(height / stride);
    if (anchor < first + count) {
      const index = anchor - first;
      return { x: index % columns, y: Math.floor(index / columns), stride };
    }
    first += count;
  }
  throw new RangeError(`there is no anchor ${anchor} in ${width} x ${height}`);
}

function* cells(width: number, height: number) {
  for (const stride of STRIDES) {
    const columns = Math.floor(width / stride);
    const cell = { x: 0, y: 0, stride };
    for (cell.y = 0; cell.y < Math.floor(height / stride); cell.y++) {
      for (cell.x = 0; cell.x < columns; cell.x++) yield cell;
    }
  }
}

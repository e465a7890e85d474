import type { GraphBuilder } from './graph-builder.ts';

/** A detector's outputs at one stride: tensors `[N, channels, H, W]`. */
interface DetectionLevel {
  /** Logits of the classes: `[N, C, H, W]`. */
  scores: string;
  /** Logits of the distances left, top, right, bottom: `[N, 4 * bins, H, W]`. */
  boxes: string;
  /** Pixels of the input between two cells. */
  stride: number;
}

/**
 * Adds the anchor-free decoding that YOLOv8 and NanoDet share: each side of a box is the expectation of a
 * distribution over `bins` distances (Li et al., Generalized Focal Loss, arXiv:2006.04388), measured from the
 * centre of its cell.
 * @returns a tensor `[N, 4 + C, A]` in YOLOv8's layout: cx, cy, w, h in input pixels, then the classes' scores 0..1
 */
export function addDetectionOutput(g: GraphBuilder, levels: readonly DetectionLevel[], bins: number): string {
  const decoded = levels.map((level) => {
    const scores = g.node('Reshape', [g.node('Sigmoid', [level.scores]), g.constant([0, 0, -1])]);
    return g.node('Concat', [addBoxes(g, level, bins), scores], { axis: 1 });
  });
  return g.node('Concat', decoded, { axis: 2 });
}

/** @returns `[N, 4, H * W]`: cx, cy, w, h in pixels */
function addBoxes(g: GraphBuilder, level: DetectionLevel, bins: number): string {
  const logits = g.node('Reshape', [level.boxes, g.constant([0, 4, bins, -1])]);
  const distribution = g.node('Softmax', [logits], { axis: 2 });
  const distances = Float32Array.from({ length: bins }, (_, bin) => bin * level.stride);
  const expected = g.node('MatMul', [g.constant(distances, [1, bins]), distribution]);
  const sides = g.node('Reshape', [expected, g.constant([0, 4, -1])]);
  const [leftTop = '', rightBottom = ''] = g.nodeOf('Split', [sides], { axis: 1 }, 2);
  const offset = g.node('Mul', [g.node('Sub', [rightBottom, leftTop]), g.scalar(0.5)]);
  const centre = g.node('Add', [addCellCentres(g, level), offset]);
  return g.node('Concat', [centre, g.node('Add', [leftTop, rightBottom])], { axis: 1 });
}

/** @returns `[2, H * W]`: x and y of every cell's centre in pixels, from the size that the tensor has at run time */
function addCellCentres(g: GraphBuilder, level: DetectionLevel): string {
  const size = g.node('Shape', [level.boxes], { start: 2, end: 4 });
  const width = g.node('Shape', [level.boxes], { start: 3, end: 4 });
  const count = g.node('ReduceProd', [size], { keepdims: 0 });
  const index = g.node('Range', [g.constant([0], []), count, g.constant([1], [])]);
  const rows = [g.node('Mod', [index, width]), g.node('Div', [index, width])];
  const axis = g.constant([0]);
  const cells = g.node(
    'Concat',
    rows.map((row) => g.node('Unsqueeze', [row, axis])),
    { axis: 0 },
  );
  const scaled = g.node('Mul', [g.node('Cast', [cells], { to: 1 }), g.scalar(level.stride)]);
  return g.node('Add', [scaled, g.scalar(level.stride / 2)]);
}

import type { AnchorLayout } from '../heads/head.ts';
import { GraphBuilder, valueInfo } from './graph-builder.ts';
import { DataType, type ModelProto } from './schema.ts';
import { sizeOf } from './uint8-input.ts';

/** Rows of the output that {@link selectCandidates} makes: four values of the box, score, class, anchor. */
const SELECTED_ROWS = 7;
/** First operator set with all operators that are used here. */
const MIN_OPSET = 12;

/**
 * Adds the choice of candidates to the model's graph: the best class of each anchor, and the anchors with the best
 * scores. The output becomes `[N, 7, K]`: a few kB a picture instead of one or two MB that would be copied from a GPU
 * and read by JavaScript. NaN counts as no score. Changes `model`, whose output is float32.
 * @param limit candidates of a picture
 * @returns false, `model` unchanged, when its operators are too old
 */
export function selectCandidates(
  model: ModelProto,
  { isChannelsFirst, hasObjectness }: AnchorLayout,
  limit: number,
): boolean {
  const opset = model.opsetImport.find(({ domain = '' }) => domain === '' || domain === 'ai.onnx');
  const [output] = model.graph.output;
  if (!output || Number(opset?.version ?? 0) < MIN_OPSET) return false;
  const g = new GraphBuilder('select_');
  const rows = isChannelsFirst ? output.name : g.node('Transpose', [output.name], { perm: [0, 2, 1] });
  const raw = g.slice(rows, 1, 4);
  const orNone = (from: string) => g.node('Where', [g.node('IsNaN', [from]), g.scalar(-1), from]);
  const classes = orNone(hasObjectness ? g.slice(raw, 1, 1) : raw);
  const bestClass = g.node('ArgMax', [classes], { axis: 1, keepdims: 1 });
  const bestScore = g.node('GatherElements', [classes, bestClass], { axis: 1 });
  // After the product: two scores of -1 would make 1.
  const score = hasObjectness ? orNone(g.node('Mul', [g.slice(raw, 1, 0, 1), bestScore])) : bestScore;
  const anchors = g.node('Gather', [g.node('Shape', [score]), g.constant([2])]);
  const count = g.node('Min', [anchors, g.constant([limit])]);
  const [values = '', chosen = ''] = g.nodeOf('TopK', [score, count], { axis: 2, largest: 1, sorted: 1 }, 2);
  const four = g.node('Concat', [chosen, chosen, chosen, chosen], { axis: 1 });
  const boxes = g.node('GatherElements', [g.slice(rows, 1, 0, 4), four], { axis: 2 });
  const asFloat = (from: string) => g.node('Cast', [from], { to: DataType.float32 });
  const chosenClass = g.node('GatherElements', [bestClass, chosen], { axis: 2 });
  const selected = g.node('Concat', [boxes, values, asFloat(chosenClass), asFloat(chosen)], { axis: 1 });
  model.graph.node.push(...g.nodes);
  model.graph.initializer.push(...g.initializers);
  const [batch] = output.type.tensorType.shape.dim;
  const size = batch ? sizeOf(batch, 'batch') : 'batch';
  model.graph.output = [valueInfo(selected, DataType.float32, [size, SELECTED_ROWS, 'candidates'])];
  return true;
}

import type { Head } from '../heads/head.ts';
import { boxesOf } from '../heads/rows.ts';
import { FRAMES_INPUT } from '../session.ts';
import { GraphBuilder } from './graph-builder.ts';
import type { ModelProto, ValueInfoProto } from './schema.ts';
import { sizeOf, takeOver } from './uint8-input.ts';

/** How a model's output differs from the usual form of its family. */
export interface OutputForm {
  /** `logits`: the graph does not apply the sigmoid, or the softmax of a classification. */
  scores?: 'shares' | 'logits' | undefined;
  /** Centre and size, two corners, or a corner and the size; in pixels of the input, or as shares of its sides. */
  boxes?: (typeof boxForms)[number] | undefined;
}
export const boxForms = ['centre', 'corners', 'corner-size', 'centre-shares', 'corner-shares'] as const;

/**
 * Converts the output to scores from 0 to 1, and boxes in pixels: centre and size for families with anchors, two
 * corners for the others. Changes `model`.
 */
export function giveUsualForm(model: ModelProto, { anchors, corners, task }: Head, form: OutputForm): void {
  const rankOf = ({ type }: ValueInfoProto) => type.tensorType.shape?.dim.length;
  // Masks lie in an output of their own, which may be the first.
  const first = model.graph.output.find((output) => rankOf(output) === 3) ?? model.graph.output[0];
  if (!first || !(form.scores || form.boxes)) return;
  const g = new GraphBuilder('form_');
  const axis = anchors?.isChannelsFirst ? 1 : -1;
  const boxes = (from: string) =>
    usualBoxes(g, from, { form: form.boxes, axis, isCentre: anchors !== undefined });
  const scores = (from: string) => (form.scores === 'logits' && !task ? g.node('Sigmoid', [from]) : from);
  if (task === 'classify') {
    if (form.scores === 'logits') first.name = g.node('Softmax', [first.name], { axis: 1 });
  } else if (corners === 'output') {
    const named = model.graph.output.map(({ name, type }) => ({
      ...{ name, dims: type.tensorType.shape?.dim.map((dim) => Number(sizeOf(dim, '0'))) ?? [] },
    }));
    const box = named.find(({ name }) => /box/i.test(name)) ?? boxesOf(named);
    const score = named.find(
      ({ name }) => name !== box?.name && (/scores|conf/i.test(name) || named.length === 2),
    );
    const change = (name: string, to: (from: string) => string) =>
      g.nodes.push({
        opType: 'Identity',
        name: `form_${name}`,
        input: [to(takeOver(model, name, 'form_'))],
        output: [name],
      });
    if (box) change(box.name, boxes);
    if (score) change(score.name, scores);
  } else if (anchors || corners) {
    // A list has one score a row, and then the class.
    const scoresEnd = anchors ? undefined : 5;
    const parts = [boxes(g.slice(first.name, axis, 0, 4)), scores(g.slice(first.name, axis, 4, scoresEnd))];
    if (corners) parts.push(g.slice(first.name, axis, 5));
    first.name = g.node('Concat', parts, { axis });
  }
  model.graph.node.push(...g.nodes);
  model.graph.initializer.push(...g.initializers);
}

function usualBoxes(
  g: GraphBuilder,
  from: string,
  { form, axis, isCentre }: { form: OutputForm['boxes']; axis: number; isCentre: boolean },
): string {
  if (!form) return from;
  let box = from;
  if (form.endsWith('shares')) {
    // Width, height, width, height of the model's input.
    const sides = g.node('Gather', [g.node('Shape', [FRAMES_INPUT]), g.constant([2, 1, 2, 1])], { axis: 0 });
    const shape = g.constant(axis === 1 ? [1, 4, 1] : [4]);
    box = g.node('Mul', [box, g.node('Reshape', [g.node('Cast', [sides], { to: 1 }), shape])]);
  }
  if (form !== 'corner-size' && form.startsWith('centre') === isCentre) return box;
  const [first, second] = [g.slice(box, axis, 0, 2), g.slice(box, axis, 2, 4)];
  const half = (of: string) => g.node('Mul', [of, g.scalar(0.5)]);
  const pair = (a: string, b: string) => g.node('Concat', [a, b], { axis });
  if (form === 'corner-size') {
    return isCentre
      ? pair(g.node('Add', [first, half(second)]), second)
      : pair(first, g.node('Add', [first, second]));
  }
  return isCentre
    ? pair(half(g.node('Add', [first, second])), g.node('Sub', [second, first]))
    : pair(g.node('Sub', [first, half(second)]), g.node('Add', [first, half(second)]));
}

import type { AnchorLayout } from '../heads/head.ts';
import { GraphBuilder } from './graph-builder.ts';
import type { ModelProto } from './schema.ts';
import { FRAMES_INPUT } from './uint8-input.ts';

/** How a model's single output differs from the usual form of the families with anchors. */
export interface OutputForm {
  /** `logits`: the graph does not apply the sigmoid. */
  scores?: 'shares' | 'logits' | undefined;
  /** Centre and size, or two corners; in pixels of the input, or as shares of its sides. */
  boxes?: (typeof boxForms)[number] | undefined;
}
export const boxForms = ['centre', 'corners', 'centre-shares', 'corner-shares'] as const;

/** End of a slice that extends to the end of its axis. */
const END = 2 ** 31 - 1;

/** Converts the output to scores from 0 to 1 and boxes as centre and size in pixels. Changes `model`. */
export function giveUsualForm(
  model: ModelProto,
  { isChannelsFirst }: AnchorLayout,
  { scores = 'shares', boxes = 'centre' }: OutputForm,
): void {
  const [output] = model.graph.output;
  if (!output || (scores === 'shares' && boxes === 'centre')) return;
  const g = new GraphBuilder('form_');
  const axis = isChannelsFirst ? 1 : 2;
  const slice = (from: string, start: number, end: number) =>
    g.node('Slice', [from, g.constant([start]), g.constant([end]), g.constant([axis])]);
  let [box, rest] = [slice(output.name, 0, 4), slice(output.name, 4, END)];
  if (scores === 'logits') rest = g.node('Sigmoid', [rest]);
  if (boxes.endsWith('shares')) {
    // Width, height, width, height of the model's input.
    const sides = g.node('Gather', [g.node('Shape', [FRAMES_INPUT]), g.constant([2, 1, 2, 1])], { axis: 0 });
    const shape = g.constant(isChannelsFirst ? [1, 4, 1] : [1, 1, 4]);
    box = g.node('Mul', [box, g.node('Reshape', [g.node('Cast', [sides], { to: 1 }), shape])]);
  }
  if (boxes.startsWith('corner')) {
    const [first, second] = [slice(box, 0, 2), slice(box, 2, 4)];
    const centre = g.node('Mul', [g.node('Add', [first, second]), g.scalar(0.5)]);
    box = g.node('Concat', [centre, g.node('Sub', [second, first])], { axis });
  }
  output.name = g.node('Concat', [box, rest], { axis });
  model.graph.node.push(...g.nodes);
  model.graph.initializer.push(...g.initializers);
}

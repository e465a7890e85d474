import type { HeadName, OutputTensor } from './index.ts';
import { prove, type Verdict } from './proof.ts';

import { type ModelFacts, possibleHeads, SAID_ONLY } from './recognise.ts';

/** The verdict for each possible family, and the one family that fits. */
export interface Decision {
  /** One for each family whose outputs have these sizes. */
  verdicts: readonly Verdict[];
  head?: HeadName;
  /** Why there is no head. */
  refusal?: string;
}

/**
 * Finds the one family that decodes a model's outputs to plausible detections, or the reason why there is none.
 * @param alone the model's outputs for each synthetic picture
 * @param wanted the family that the user named
 */
export function decide(
  alone: readonly (readonly OutputTensor[])[],
  facts: Omit<ModelFacts, 'outputs'>,
  wanted: HeadName | undefined,
): Decision {
  const outputs = (alone[0] ?? []).map(({ name, dims }) => ({ name, shape: dims }));
  const read = (changed: Partial<ModelFacts> = {}) => {
    const { classes, ...rest } = { ...facts, ...changed };
    const possible = possibleHeads({ ...rest, classes, outputs });
    const verdicts = possible.map((head) => prove(head, alone, facts, classes));
    return { verdicts, proven: verdicts.filter(({ problem }) => !problem).map(({ head }) => head) };
  };
  const { verdicts, proven } = read();
  const despite = facts.endToEnd ? read({ endToEnd: undefined }) : { verdicts, proven };
  if (wanted) {
    const all = [...verdicts, ...despite.verdicts];
    const fitting = [...new Set([...proven, ...despite.proven])];
    // What a person says counts more than the metadata.
    if (fitting.includes(wanted)) return { verdicts: all, head: wanted };
    const instead = fitting.length > 0 ? `; its answers fit --head ${fitting.join(', --head ')}` : '';
    const problem = all.find(({ head }) => head === wanted)?.problem;
    const why = problem ?? `the sizes of its outputs are not those of ${wanted}${classesOf(facts)}`;
    return { verdicts: all, refusal: `as ${wanted}, ${why}${instead}` };
  }
  const [head] = proven;
  const unsaid = head && SAID_ONLY[head];
  if (unsaid) return { verdicts, refusal: unsaid };
  if (head && proven.length === 1) return { verdicts, head };
  if (head) return { verdicts, refusal: `it could be ${proven.join(' or ')}: say which with --head` };
  const reasons =
    verdicts.length > 0
      ? verdicts.map((one) => `as ${one.head}, ${one.problem}`).join('; ')
      : `no family has outputs of these sizes${classesOf(facts)}`;
  const said = `--head ${despite.proven.join(' or --head ')}`;
  const unnamed = read({ endToEnd: undefined, classes: undefined }).proven.join(' or ');
  const remedy =
    despite.proven.length > 0
      ? `; its metadata says end2end, and without that it could be ${said}`
      : unnamed
        ? `; with another number of names it could be ${unnamed}: give them all with --names or a card`
        : verdicts.length === 0
          ? formRemedy(outputs)
          : '';
  return { verdicts, refusal: reasons + remedy };
}

/** What to do about outputs that no family has. */
function formRemedy(outputs: ModelFacts['outputs']): string {
  const ranks = outputs.map(({ shape }) => shape.length);
  if (outputs.length > 1 && ranks.some((rank) => rank > 3))
    return '; some are feature maps, which its project decodes outside of the graph: export it with that decoding inside';
  if (ranks.length === 1 && ranks[0] === 2)
    return '; it seems to classify whole pictures: then a card says { task: classify }';
  return '; export it with boxes, scores and classes in a form that docs/models.md lists';
}

const classesOf = ({ classes }: Pick<ModelFacts, 'classes'>) =>
  classes === undefined ? '' : ` with ${classes} class names`;

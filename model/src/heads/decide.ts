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
  const possible = possibleHeads({ ...facts, outputs });
  const verdicts = possible.map((head) => prove(head, alone, facts, facts.classes));
  const proven = verdicts.filter(({ problem }) => problem === undefined).map(({ head }) => head);
  const instead = proven.length > 0 ? `; its answers fit --head ${proven.join(', --head ')}` : '';
  if (wanted) {
    if (proven.includes(wanted)) return { verdicts, head: wanted };
    const problem = verdicts.find(({ head }) => head === wanted)?.problem;
    const why = problem ?? `the sizes of its outputs are not those of ${wanted}${classesOf(facts)}`;
    return { verdicts, refusal: `as ${wanted}, ${why}${instead}` };
  }
  const [head] = proven;
  const unsaid = head && SAID_ONLY[head];
  if (unsaid) return { verdicts, refusal: unsaid };
  if (head && proven.length === 1) return { verdicts, head };
  if (head) return { verdicts, refusal: `it could be ${proven.join(' or ')}: say which with --head` };
  if (possible.length === 0)
    return { verdicts, refusal: `no family has outputs of these sizes${classesOf(facts)}` };
  return { verdicts, refusal: verdicts.map((one) => `as ${one.head}, ${one.problem}`).join('; ') };
}

const classesOf = ({ classes }: Pick<ModelFacts, 'classes'>) =>
  classes === undefined ? '' : ` with ${classes} class names`;

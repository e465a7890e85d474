import { MAX_KEYPOINTS } from '../model-metadata.ts';
import type { HeadName, OutputTensor } from './index.ts';
import { type ModelFacts, MUST_BE_NAMED, possibleHeads } from './possible-heads.ts';
import { type Verdict, validateOutputs } from './validate-outputs.ts';

/** The verdict for each possible family, and the one family that fits. */
export interface HeadChoice {
  /** One for each family whose outputs have these sizes. */
  verdicts: readonly Verdict[];
  head?: HeadName;
  refusal?: string;
}

/**
 * Finds the one family that decodes a model's outputs to plausible detections, or the reason why there is none.
 * @param alone the model's outputs for each synthetic picture, run one by one
 * @param wanted the family that the user named
 */
export function chooseHead(
  alone: readonly (readonly OutputTensor[])[],
  facts: Omit<ModelFacts, 'outputs'>,
  wanted: HeadName | undefined,
): HeadChoice {
  const outputs = alone[0] ?? [];
  const read = (changed: Partial<ModelFacts> = {}) => {
    const model = { ...facts, ...changed, outputs };
    return possibleHeads(model).map((head) => validateOutputs(head, alone, model));
  };
  const verdicts = read();
  const valid = validOnes(verdicts);
  if (wanted && valid.includes(wanted)) return { verdicts, head: wanted };
  const [head] = valid;
  if (head && !wanted) {
    const open = valid.length > 1 ? `it could be ${valid.join(' or ')}: say which with --head` : undefined;
    const refusal = MUST_BE_NAMED[head] ?? open;
    return refusal ? { verdicts, refusal } : { verdicts, head };
  }
  const despite = facts.endToEnd ? read({ endToEnd: undefined }) : [];
  const all = [...verdicts, ...despite.filter((one) => !verdicts.some(({ head }) => head === one.head))];
  const fitting = validOnes(all);
  if (wanted) {
    // What a person says counts more than the metadata.
    if (fitting.includes(wanted)) return { verdicts: all, head: wanted };
    const instead = fitting.length > 0 ? `; its answers fit --head ${fitting.join(', --head ')}` : '';
    const problem = all.find(({ head }) => head === wanted)?.problem;
    const why = problem ?? `the sizes of its outputs are not those of ${wanted}${classesOf(facts)}`;
    return { verdicts: all, refusal: `as ${wanted}, ${why}${instead}` };
  }
  const reasons =
    verdicts.length > 0
      ? verdicts.map((one) => `as ${one.head}, ${one.problem}`).join('; ')
      : `no family has outputs of these sizes${classesOf(facts)}`;
  const remedy = () => {
    if (fitting.length > 0)
      return `; its metadata says end2end, and without that it could be --head ${fitting.join(' or --head ')}`;
    const unnamed =
      facts.classes === undefined ? [] : validOnes(read({ endToEnd: undefined, classes: undefined }));
    if (unnamed.length > 0)
      return `; with another number of names it could be ${unnamed.join(' or ')}: give them all with --names or a card`;
    const tasks = facts.task
      ? []
      : possibleTasks(facts, outputs[0]?.dims).filter((task) => validOnes(read(task)).length > 0);
    if (tasks.length > 0)
      return `; it is served with a card beside it that says ${tasks.map(cardOf).join(' or ')}`;
    return verdicts.length === 0 ? formRemedy(outputs) : '';
  };
  return { verdicts, refusal: reasons + remedy() };
}

const validOnes = (verdicts: readonly Verdict[]) =>
  verdicts.filter(({ problem }) => !problem).map(({ head }) => head);

type TaskFacts = Pick<ModelFacts, 'task' | 'keypoints'>;

/** Tasks that a single output may belong to. Without names, a pose model has one class. */
function possibleTasks(
  { classes = 1 }: Pick<ModelFacts, 'classes'>,
  [, rows = 0, columns = 0]: readonly number[] = [],
): TaskFacts[] {
  // There are many more anchors, or objects of a list, than values for each of them.
  const extra = rows > columns ? columns - 6 : rows - 4 - classes;
  const shapes = [3, 2]
    .map((values) => [extra / values, values] as const)
    .filter(([points]) => Number.isInteger(points) && points > 0 && points <= MAX_KEYPOINTS);
  return [{ task: 'obb' }, ...shapes.map((keypoints): TaskFacts => ({ task: 'pose', keypoints }))];
}

const cardOf = ({ task, keypoints }: TaskFacts) =>
  `{ task: ${task}${keypoints ? `, keypoints: [${keypoints.join(', ')}]` : ''} }`;

/** What to do about outputs that no family has. */
function formRemedy(outputs: ModelFacts['outputs']): string {
  const ranks = outputs.map(({ dims }) => dims.length);
  if (outputs.length === 2 && String(outputs[0]?.dims) === String(outputs[1]?.dims))
    return '; its outputs are alike, as those of YOLOv9 with its auxiliary branch: convert it without that branch first';
  if (outputs.length > 1 && ranks.some((rank) => rank > 3))
    return '; some are feature maps, which its project decodes outside of the graph: export it with that decoding inside';
  if (ranks.length === 1 && ranks[0] === 2)
    return '; it seems to classify whole pictures: then a card says { task: classify }';
  return '; export it with boxes, scores and classes in a form that docs/models.md lists';
}

const classesOf = ({ classes }: Pick<ModelFacts, 'classes'>) =>
  classes === undefined ? '' : ` with ${classes} class names`;

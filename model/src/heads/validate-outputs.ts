import {
  type Candidate,
  type HeadName,
  heads,
  isSound,
  type KeypointShape,
  type OutputTensor,
} from './index.ts';
import { COLUMNS_BEFORE_CLASSES, type ModelFacts } from './possible-heads.ts';
import { argMax, boxesOf, corners, rowsOf } from './rows.ts';

/** Whether a model's outputs can be those of a family. */
export interface Verdict {
  head: HeadName;
  /** Why they can't be outputs of this family; absent if they can. */
  problem?: string;
}

/** Share of broken candidates above which a family is rejected. */
const MAX_BROKEN = 0.01;
/** Share of implausible boxes above which a family is rejected. Untrained models give some such boxes. */
const MAX_OFF = 0.25;
/** Boxes smaller than this are shares of the picture that were read as pixels. */
const MIN_PIXELS = 2;
/** Correlation from which two series are nearly the same. */
const LIKE = 0.9;
/** From this many candidates on: if half of them have high scores, the scores are read from the wrong place. */
const CROWD = 100;

/**
 * Checks whether a model's outputs for synthetic pictures look like detections: scores from 0 to 1, integer classes,
 * boxes inside the picture and larger than a pixel.
 * @param batches outputs of one run each
 */
export function validateOutputs(
  head: HeadName,
  batches: readonly (readonly OutputTensor[])[],
  { inputWidth, inputHeight, classes, boxes, keypoints }: Omit<ModelFacts, 'outputs'>,
): Verdict {
  const options = { threshold: Number.NEGATIVE_INFINITY, inputWidth, inputHeight, keypoints };
  const decoded = batches.flatMap((outputs) => heads[head].decode(outputs, 0, options));
  const all = decoded.filter(isNotPadding).map(upright);
  const sound = all.filter(isSound);
  // A class of the picture as a whole has no box.
  const objects = head === 'classify' ? [] : objectsOf(sound);
  const areShares = CENTRE_SHARES.includes(head);
  const isCentre =
    areShares || 'anchors' in heads[head] || head === 'end2end-obb' || boxes?.startsWith('centre');
  const problem =
    numbersProblem(batches) ??
    noObjectProblem(head, batches) ??
    sumProblem(head, batches) ??
    scoreProblem(all, classes) ??
    negativeProblem(head, batches) ??
    listProblem(head, batches) ??
    sharesProblem(head, batches) ??
    (areShares && objects.length === 0 ? 'all its rows are empty: a list that was filled up' : undefined) ??
    boxProblem(objects, inputWidth, inputHeight) ??
    cornersProblem(head, sound) ??
    reachProblem(
      objects,
      inputWidth,
      inputHeight,
      isCentre && (areShares ? 'two corners as shares' : 'two corners'),
    ) ??
    (head === 'boxes-scores' ? undefined : crowdProblem(all)) ??
    anglesProblem(objects) ??
    (keypoints && /pose/.test(head)
      ? keypointsProblem(objects, keypoints, Math.max(inputWidth, inputHeight))
      : undefined);
  return problem ? { head, problem } : { head };
}

/** An oriented box is checked by its own sides, not by the box around its corners. */
const upright = (one: Candidate): Candidate => {
  const { oriented } = one;
  return oriented ? { ...one, box: corners(oriented[0], oriented[1], oriented[2], oriented[3]) } : one;
};

/** Some exports pad their lists with class -1. */
const isNotPadding = ({ classId, score }: Candidate) => classId !== -1 || score > 0;

/** A candidate with a lower score does not count. */
const SEEN = 1e-3;

/** The candidates with any confidence. If there are none, all boxes that have a size: rows of zeros are padding. */
function objectsOf(candidates: readonly Candidate[]): readonly Candidate[] {
  const seen = candidates.filter(({ score }) => score > SEEN);
  return seen.length > 0 ? seen : candidates.filter(({ box }) => box[2] > box[0] || box[3] > box[1]);
}

function numbersProblem(batches: readonly (readonly OutputTensor[])[]): string | undefined {
  let values = 0;
  let broken = 0;
  for (const { data } of batches.flat()) {
    values += data.length;
    for (const value of data) if (!Number.isFinite(value)) broken++;
  }
  return broken > values * MAX_BROKEN
    ? `${percent(broken, values)} of its numbers are NaN or infinite`
    : undefined;
}

/** With a softmax, most queries say that there is no object, which is the last class. */
function noObjectProblem(head: HeadName, batches: readonly (readonly OutputTensor[])[]): string | undefined {
  if (head !== 'detr-softmax') return undefined;
  const logits = batches.flatMap((outputs) => outputs.filter((output) => output !== boxesOf(outputs)));
  const rows = logits.flatMap((output) => [...rowsOf(output, 0)]);
  const empty = rows.filter((row) => argMax(row) === row.length - 1).length;
  return empty <= rows.length / 2
    ? `${percent(empty, rows.length)} of its queries say 'no object' to a synthetic picture`
    : undefined;
}

/** How far the sum of all probabilities may be from 1: half precision rounds each of them. */
const SUM_SLACK = 0.02;

function sumProblem(head: HeadName, batches: readonly (readonly OutputTensor[])[]): string | undefined {
  if (head !== 'classify') return undefined;
  const sums = batches
    .flatMap((outputs) => outputs.flatMap((output) => [...rowsOf(output, 0)]))
    .map((row) => row.reduce((sum, share) => sum + share, 0));
  const wrong = sums.find((sum) => !(Math.abs(sum - 1) <= SUM_SLACK));
  if (wrong === undefined) return undefined;
  return `its values add up to ${short(wrong)}, not to 1: export it with a softmax at its end`;
}

function scoreProblem(all: readonly Candidate[], classes: number | undefined): string | undefined {
  const finite = all.filter(({ score, box }) => Number.isFinite(score) && box.every(Number.isFinite));
  const seen = all.filter(({ score }) => !(score <= SEEN));
  const broken = seen.filter(({ box }) => !box.every(Number.isFinite)).length;
  if (broken > seen.length / 2) return `${percent(broken, seen.length)} of its boxes are no numbers`;
  const scores = finite.map(({ score }) => score);
  const wrong = finite.filter(({ score }) => score < -1e-3 || score > 1.01).length;
  if (wrong > 0) return `its confidences go from ${min(scores)} to ${max(scores)}, not from 0 to 1`;
  if (finite.some(({ classId }) => !Number.isInteger(classId) || classId < 0))
    return 'its classes are no whole numbers';
  const highest = finite.reduce((max, { classId }) => Math.max(max, classId), -1);
  return classes !== undefined && highest >= classes
    ? `it has a class ${highest}, and there are ${classes} names`
    : undefined;
}

/** Finds values of another task that are read as scores of a last class: angles and coordinates may be negative. */
function negativeProblem(head: HeadName, batches: readonly (readonly OutputTensor[])[]): string | undefined {
  if (head !== 'yolov8') return undefined;
  for (const [output] of batches) {
    const [, rows = 0, anchors = 0] = output?.dims ?? [];
    const last = output?.data.subarray((rows - 1) * anchors, rows * anchors) ?? [];
    const under = last.filter((score) => score < -SEEN);
    if (under.length > anchors * MAX_BROKEN)
      return `its confidences go from ${min([...under])}, not from 0: its last row is no class, it seems`;
  }
  return undefined;
}

/** Finds a list of objects that is read as scores of classes: its classes are whole numbers, unlike most scores. */
function listProblem(head: HeadName, batches: readonly (readonly OutputTensor[])[]): string | undefined {
  const before = COLUMNS_BEFORE_CLASSES[head];
  if (before === undefined) return undefined;
  const rows = batches.flatMap(([output]) => [...rowsOf(output, 0)]).filter((row) => row.length === 6);
  const seen = rows.filter((row) => (row[4] as number) > SEEN);
  const isClass = seen.length > 0 && seen.every((row) => Number.isInteger(row[5]));
  const hasObjectness = before > 4;
  // With a single class, all its scores may be exactly 1 in half precision.
  const isSaid = seen.some((row) => (hasObjectness ? row[5] !== 1 : (row[5] as number) > 0));
  if (isClass && isSaid) return 'its last column has only whole numbers: classes, it seems';
  const sure = rows.filter((row) => (row[5] as number) > SEEN);
  const isSwapped =
    !hasObjectness &&
    sure.every((row) => Number.isInteger(row[4])) &&
    sure.some((row) => (row[4] as number) > 0 && !Number.isInteger(row[5]));
  return isSwapped ? 'the column before its last has only whole numbers: classes, it seems' : undefined;
}

/** Finds boxes in shares that are read as YOLOX's offsets and logarithms: many of those are under 0 or over 1. */
function sharesProblem(head: HeadName, batches: readonly (readonly OutputTensor[])[]): string | undefined {
  if (head !== 'yolox') return undefined;
  const seen = batches.flatMap(([output]) => [...rowsOf(output, 0, 4, SEEN)]);
  const areShares = seen.every((row) =>
    row.subarray(0, 4).every((side) => side > -SLACK && side < 1 + SLACK),
  );
  return seen.length > 1 && areShares
    ? 'its boxes go from 0 to 1: shares of the picture, it seems'
    : undefined;
}

function boxProblem(objects: readonly Candidate[], width: number, height: number): string | undefined {
  if (objects.length === 0) return undefined;
  const share = (is: (box: Candidate['box']) => boolean) =>
    objects.filter(({ box }) => is(box)).length / objects.length;
  if (share(([x1, y1, x2, y2]) => x2 < x1 - 1 || y2 < y1 - 1) > MAX_OFF)
    return 'its boxes end before they begin';
  if (share(([x1, y1, x2, y2]) => Math.max(x2 - x1, y2 - y1) < MIN_PIXELS) > 1 - MAX_OFF) {
    return `its boxes are smaller than ${MIN_PIXELS} pixels: shares of the picture, it seems`;
  }
  const isOutside = ([x1, y1, x2, y2]: Candidate['box']) => {
    const [x, y] = [(x1 + x2) / 2, (y1 + y2) / 2];
    return x < -width / 2 || x > width * 1.5 || y < -height / 2 || y > height * 1.5;
  };
  if (share(isOutside) > MAX_OFF) return 'its boxes lie outside the picture';
  const isHuge = ([x1, y1, x2, y2]: Candidate['box']) => x2 - x1 > 4 * width || y2 - y1 > 4 * height;
  return share(isHuge) > MAX_OFF ? 'its boxes are larger than the picture' : undefined;
}

/** Finds two corners read as centre and size: such boxes grow with their distance from the picture's corner. */
function cornersProblem(head: HeadName, all: readonly Candidate[]): string | undefined {
  // Without anchors, boxes have no even distribution over the picture.
  if (!('anchors' in heads[head])) return undefined;
  const boxes = all.map(({ box }) => box).filter(([x1, y1, x2, y2]) => x2 > x1 && y2 > y1);
  const grows = (from: 0 | 1, to: 2 | 3) =>
    correlation(
      boxes.map((box) => box[from] + box[to]),
      boxes.map((box) => box[to] - box[from]),
    ) > LIKE;
  if (boxes.length < CROWD || !grows(0, 2) || !grows(1, 3)) return undefined;
  return 'its boxes grow with their distance from the corner of the picture: two corners, it seems';
}

/** Families whose boxes are centre and size, as shares. */
const CENTRE_SHARES: readonly HeadName[] = ['rtdetr', 'rtdetr-top', 'detr', 'detr-softmax', 'rfdetr'];
/** How far a box may extend beyond the picture, as a share of the picture's side. */
const SLACK = 0.02;

/** Finds two corners read as centre and size: no size is under the centre's coordinates, and most boxes reach out. */
function reachProblem(
  objects: readonly Candidate[],
  width: number,
  height: number,
  instead: string | false | undefined,
): string | undefined {
  if (!instead || objects.length === 0) return undefined;
  const mayBeCorners = objects.every(({ box: [x1, y1, x2, y2] }) => x2 >= 3 * x1 && y2 >= 3 * y1);
  const reachOut = objects.filter(
    ({ box: [x1, y1, x2, y2] }) =>
      Math.min(x1, width - x2) < -SLACK * width || Math.min(y1, height - y2) < -SLACK * height,
  );
  return mayBeCorners && reachOut.length > objects.length / 2
    ? `its boxes reach out of the picture: ${instead}, it seems`
    : undefined;
}

/** Pearson's correlation coefficient. */
function correlation(one: readonly number[], other: readonly number[]): number {
  const centred = (values: readonly number[]) => {
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    return values.map((value) => value - mean);
  };
  const [a, b] = [centred(one), centred(other)];
  const product = (x: number[], y: number[]) => x.reduce((sum, value, at) => sum + value * (y[at] ?? 0), 0);
  return product(a, b) / Math.sqrt(product(a, a) * product(b, b));
}

/** From this share of angles above a whole turn on, they are degrees. An untrained YOLO26 gives such for noise. */
const DEGREES = 0.8;

function anglesProblem(objects: readonly Candidate[]): string | undefined {
  const turned = objects.flatMap(({ oriented }) => (oriented ? [Math.abs(oriented[4])] : []));
  const many = turned.filter((angle) => angle > 2 * Math.PI).length;
  if (many <= turned.length * DEGREES) return undefined;
  return `its angles go to ${max(turned)}: degrees, it seems; export it with radians`;
}

/** How far key points may lie from the corner of an empty picture, as a multiple of its longer side. */
const FARTHEST = 3;

function keypointsProblem(
  objects: readonly Candidate[],
  [, values]: KeypointShape,
  side: number,
): string | undefined {
  const all = objects.flatMap(({ extra = [] }) => [...extra]);
  const sure = values === 3 ? all.filter((_, at) => at % 3 === 2) : [];
  if (sure.some((share) => share < -SEEN || share > 1.01))
    return `confidences of its key points go from ${min(sure)} to ${max(sure)}, not from 0 to 1`;
  const places = all.filter((_, at) => at % values < 2).map(Math.abs);
  if (places.filter((place) => place > FARTHEST * side).length > places.length * MAX_OFF)
    return 'its key points lie outside the picture';
  if (places.length === 0 || places.some((place) => place >= MIN_PIXELS)) return undefined;
  return 'its key points are no pixels of the input: shares of the picture, it seems; export it with pixels';
}

/** Not for `boxes-scores`, where an untrained model is sure of some class at most places. */
function crowdProblem(all: readonly Candidate[]): string | undefined {
  if (all.length < CROWD) return undefined;
  const sure = all.filter(({ score }) => score > 0.5);
  if (sure.length <= all.length / 2) return undefined;
  return `${percent(sure.length, all.length)} of its ${all.length} places are sure of an object in a synthetic picture`;
}

const min = (values: readonly number[]) =>
  short(values.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY));
const max = (values: readonly number[]) =>
  short(values.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY));
const short = (value: number) => String(Number(value.toPrecision(3)));
const percent = (part: number, whole: number) => `${Math.round((100 * part) / whole)} %`;

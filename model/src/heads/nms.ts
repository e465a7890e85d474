import type { Candidate } from './head.ts';
import { orientedOverlap } from './obb.ts';

export interface SuppressionOptions {
  /** If two boxes overlap more (intersection over union, 0..1), the one with the lower score is removed. */
  iou: number;
  /** Boxes of different classes suppress each other too. */
  classAgnostic: boolean;
  maxDetections: number;
}

/** Most candidates that are compared: suppression takes quadratic time (Ultralytics' `max_nms`). */
const MAX_CANDIDATES = 30_000;
/** Most oriented boxes that are compared: each is compared to all with a higher score. */
const MAX_ORIENTED = 3_000;

/**
 * Greedy non-maximum suppression. An oriented box is also suppressed by one that is itself suppressed (`fast_nms`).
 * @returns what remains, best score first
 */
export function suppress(candidates: readonly Candidate[], options: SuppressionOptions): Candidate[] {
  const kept: Candidate[] = [];
  const surer: Candidate[] = [];
  const limit = candidates[0]?.oriented ? MAX_ORIENTED : MAX_CANDIDATES;
  for (const candidate of candidates.toSorted((a, b) => b.score - a.score).slice(0, limit)) {
    const isCovered = (candidate.oriented ? surer : kept).some(
      (other) =>
        (options.classAgnostic || other.classId === candidate.classId) &&
        overlapOf(other, candidate) > options.iou,
    );
    surer.push(candidate);
    if (!isCovered) kept.push(candidate);
    if (kept.length === options.maxDetections) break;
  }
  return kept;
}

/** For models that suppress by themselves. @returns the `maxDetections` best, best score first */
export function strongest(
  candidates: readonly Candidate[],
  { maxDetections }: Pick<SuppressionOptions, 'maxDetections'>,
): Candidate[] {
  return candidates.toSorted((a, b) => b.score - a.score).slice(0, maxDetections);
}

function overlapOf(one: Candidate, other: Candidate): number {
  return one.oriented && other.oriented
    ? orientedOverlap(one.oriented, other.oriented)
    : intersectionOverUnion(one.box, other.box);
}

/** @returns 0..1; 0 where both boxes are empty */
export function intersectionOverUnion(a: Candidate['box'], b: Candidate['box']): number {
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
  const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  if (width <= 0 || height <= 0) return 0;
  const intersection = width * height;
  return intersection / (area(a) + area(b) - intersection);
}

const area = (box: Candidate['box']) => (box[2] - box[0]) * (box[3] - box[1]);

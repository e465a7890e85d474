import type { Detection } from '@video-pipeline/frame';
import { inZone, relativeBox, type Zone } from './zones.ts';

/** Which detections are worth keeping. What is absent, or empty, filters nothing. */
export interface Filters {
  /** Allowed class names. */
  classes?: readonly string[] | undefined;
  /** Least confidence by class name, 0..1. */
  confidence: Readonly<Record<string, number>>;
  /** Least share of the frame that a box covers, 0..1. */
  min_area: number;
  /** Largest share of the frame that a box covers, 0..1. */
  max_area: number;
  /** A detection must belong to one of these zones, if there are any. */
  include: readonly Zone[];
  /** A detection must belong to none of these zones. */
  exclude: readonly Zone[];
}

/** Why a detection was left out: the first filter that it fails, in this order. */
export const FILTER_REASONS = ['class', 'confidence', 'area', 'zone'] as const;
export type FilterReason = (typeof FILTER_REASONS)[number];

export interface Filtered {
  kept: Detection[];
  /** Detections left out, by reason. */
  removed: Partial<Record<FilterReason, number>>;
}

/** Sifts the detections of one frame, in their order. */
export function filterDetections(
  filters: Filters,
  frame: { width: number; height: number; detections: readonly Detection[] },
): Filtered {
  const kept: Detection[] = [];
  const removed: Filtered['removed'] = {};
  for (const detection of frame.detections) {
    const reason = reasonToRemove(filters, frame, detection);
    if (reason) removed[reason] = (removed[reason] ?? 0) + 1;
    else kept.push(detection);
  }
  return { kept, removed };
}

function reasonToRemove(
  filters: Filters,
  frame: { width: number; height: number },
  { class_name, confidence, bbox }: Detection,
): FilterReason | undefined {
  if (filters.classes && !filters.classes.includes(class_name)) return 'class';
  if (Object.hasOwn(filters.confidence, class_name) && confidence < (filters.confidence[class_name] ?? 0)) {
    return 'confidence';
  }
  const box = relativeBox(bbox, frame);
  const area = (box[2] - box[0]) * (box[3] - box[1]);
  if (area < filters.min_area || area > filters.max_area) return 'area';
  const included = filters.include.length === 0 || filters.include.some((zone) => inZone(zone, box));
  if (!included || filters.exclude.some((zone) => inZone(zone, box))) return 'zone';
  return undefined;
}

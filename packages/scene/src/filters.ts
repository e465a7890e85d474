import type { Detection } from '@video-pipeline/frame';
import type { SceneConfig } from './config.ts';
import { type Box, fromCorners, iou, overlappingPairs, type Pair } from './pairing.ts';
import { inZone, relativeBox, type Zone } from './zones.ts';

/** Filters of detections, with their zones. A filter that is absent or empty removes nothing. */
export type Filters = Omit<SceneConfig['filters'], 'classes' | 'include' | 'exclude'> & {
  classes?: readonly string[] | undefined;
  include: readonly Zone[];
  exclude: readonly Zone[];
};

/** The filters with their zones. @param allowedClasses for streams that name no classes themselves */
export function filtersOf(config: SceneConfig, allowedClasses?: readonly string[]): Filters {
  const zones = (names: string[]) => names.flatMap((one): Zone | [] => config.zones[one] ?? []);
  const { include, exclude, classes = allowedClasses, ...rest } = config.filters;
  return { ...rest, classes, include: zones(include), exclude: zones(exclude) };
}

/** Why a detection was left out: the first filter that it fails, in this order. */
type FilterReason = 'class' | 'confidence' | 'area' | 'zone' | 'overlap';

export interface Filtered {
  kept: Detection[];
  /** Detections left out, by reason. */
  removed: Partial<Record<FilterReason, number>>;
}

/** Filters the detections of one frame, in their order. */
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
  if (filters.one_per_object === undefined) return { kept, removed };
  const single = surestOfEach(kept, filters.one_per_object);
  if (single.length < kept.length) removed.overlap = kept.length - single.length;
  return { kept: single, removed };
}

/** Removes each box that overlaps one of higher confidence by more than `limit`. The order stays. */
function surestOfEach(detections: readonly Detection[], limit: number): Detection[] {
  const order = detections.toSorted((a, b) => b.confidence - a.confidence);
  const boxes = order.map(({ bbox }) => fromCorners(bbox));
  const pairs = overlappingPairs(boxes, boxes).filter(({ row, column }) => column < row);
  const surer = Map.groupBy(pairs, ({ row }) => row);
  const removed = new Set<Detection>();
  for (const [row, detection] of order.entries()) {
    const hides = ({ column }: Pair) =>
      !removed.has(order[column] as Detection) && iou(boxes[row] as Box, boxes[column] as Box) > limit;
    if (surer.get(row)?.some(hides)) removed.add(detection);
  }
  return detections.filter((one) => !removed.has(one));
}

function reasonToRemove(
  filters: Filters,
  frame: { width: number; height: number },
  { class_name, confidence, bbox }: Detection,
): FilterReason | undefined {
  if (filters.classes && !filters.classes.includes(class_name)) return 'class';
  const own = Object.hasOwn(filters.confidence, class_name) ? filters.confidence[class_name] : undefined;
  if (confidence < (own ?? filters.min_confidence)) return 'confidence';
  const box = relativeBox(bbox, frame);
  const area = (box[2] - box[0]) * (box[3] - box[1]);
  if (area < filters.min_area || area > filters.max_area) return 'area';
  const included = filters.include.length === 0 || filters.include.some((zone) => inZone(zone, box));
  if (!included || filters.exclude.some((zone) => inZone(zone, box))) return 'zone';
  return undefined;
}

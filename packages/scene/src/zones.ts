import type { Detection } from '@video-pipeline/frame';

/** `[x, y]` relative to the frame, 0..1, origin top left: independent of the resolution. */
export type Point = readonly [x: number, y: number];
/** Corners in order. The last one is connected to the first. */
export type Polygon = readonly Point[];
/** `[x1, y1, x2, y2]` relative to the frame, 0..1. */
export type RelativeBox = readonly [number, number, number, number];

/** A part of the picture. Its border, and the borders of its holes, belong to it. */
export interface Zone {
  polygon: Polygon;
  /** Parts cut out of the polygon: inside it, not overlapping each other. */
  holes: readonly Polygon[];
  /** When a box is in it: by its bottom centre (where an object stands), or by the share of the box that overlaps. */
  membership: 'bottom_centre' | 'overlap';
  /** Share of the box's own area that must lie in the zone when `membership` is `overlap`, 0..1. */
  min_overlap: number;
}

/** Smaller distances count as zero. It is far below a pixel, and far above the rounding error of doubles in 0..1. */
const EPSILON = 1e-9;

/**
 * The box relative to the frame, cut at its borders.
 * @example
 * relativeBox([-10, 0, 640, 360], { width: 1280, height: 720 }); // => [0, 0, 0.5, 0.5]
 */
export function relativeBox(
  [x1, y1, x2, y2]: Detection['bbox'],
  { width, height }: { width: number; height: number },
): RelativeBox {
  const clamp = (value: number) => Math.min(1, Math.max(0, value));
  return [clamp(x1 / width), clamp(y1 / height), clamp(x2 / width), clamp(y2 / height)];
}

/** Where an object stands: the middle of its box's lower side. */
export function bottomCentre([x1, , x2, y2]: RelativeBox): Point {
  return [(x1 + x2) / 2, y2];
}

/** Width and height of a box, never zero. */
export function sizeOf(box: RelativeBox): Point {
  return [Math.max(1e-4, box[2] - box[0]), Math.max(1e-4, box[3] - box[1])];
}

/** Whether a box belongs to the zone. A box without area belongs by its bottom centre. */
export function inZone(zone: Zone, box: RelativeBox): boolean {
  if (isByPoint(zone, box)) return contains(zone, bottomCentre(box));
  return coveredShare(zone, box) >= zone.min_overlap - EPSILON;
}

/**
 * Whether a box is well inside the zone, or well outside, so that a flickering box would stay there.
 * @param share lowest distance of the bottom centre from the border, in sizes of the box, or lowest difference of the
 * covered share. Borders of the picture are ignored, since nothing can be beyond them.
 */
export function clearOfBorder(zone: Zone, box: RelativeBox, share: number): boolean {
  if (!isByPoint(zone, box)) {
    const reachable = Math.min(share, zone.min_overlap, Math.max(1 - zone.min_overlap, EPSILON));
    return Math.abs(coveredShare(zone, box) - zone.min_overlap) >= reachable - EPSILON;
  }
  const size = sizeOf(box);
  const [point] = inSizes(size, bottomCentre(box)) as [Point];
  return [zone.polygon, ...zone.holes].every((polygon) =>
    edgesOf(polygon).every((edge) => {
      const [a, b] = inSizes(size, ...edge) as [Point, Point];
      return onPictureBorder(edge) || distanceToSegment(point, a, b) >= share;
    }),
  );
}

/** Distance of a point from the infinite line through `line`, in sizes of the object. */
export function distanceInSizes(line: Segment, point: Point, size: Point): number {
  const [a, b, scaled] = inSizes(size, ...line, point) as [Point, Point, Point];
  return Math.abs(sideOf([a, b], scaled)) / distance(a, b);
}

function inSizes([width, height]: Point, ...points: Point[]): Point[] {
  return points.map(([x, y]): Point => [x / width, y / height]);
}

function onPictureBorder([a, b]: Segment): boolean {
  return [0, 1].some((side) => (a[0] === side && b[0] === side) || (a[1] === side && b[1] === side));
}

function isByPoint(zone: Zone, box: RelativeBox): boolean {
  return zone.membership === 'bottom_centre' || box[2] <= box[0] || box[3] <= box[1];
}

/** Share of the box that the zone covers, 0..1. */
function coveredShare(zone: Zone, box: RelativeBox): number {
  const covered = zone.holes.reduce(
    (area, hole) => area - overlapArea(hole, box),
    overlapArea(zone.polygon, box),
  );
  return covered / ((box[2] - box[0]) * (box[3] - box[1]));
}

function contains(zone: Zone, point: Point): boolean {
  const isCovered = position(zone.polygon, point) !== 'outside';
  return isCovered && zone.holes.every((hole) => position(hole, point) !== 'inside');
}

/**
 * The error of a polygon, or of a zone with its holes.
 * @returns the end of a sentence that names the point, edge or hole; undefined without an error
 */
export function zoneProblem(polygon: Polygon, holes: readonly Polygon[] = []): string | undefined {
  const own = polygonProblem(polygon);
  if (own) return own;
  for (const [index, hole] of holes.entries()) {
    const problem = polygonProblem(hole) ?? placeProblem(hole, polygon, holes.slice(0, index));
    if (problem) return `has a hole ${index + 1} that ${problem}`;
  }
  return undefined;
}

function polygonProblem(polygon: Polygon): string | undefined {
  if (polygon.length < 3) return `has ${polygon.length} points; a polygon needs 3`;
  for (const [index, [x, y]] of polygon.entries()) {
    if (!(x >= 0 && x <= 1 && y >= 0 && y <= 1)) return `has point ${index + 1} (${x}, ${y}) outside 0..1`;
    const twin = polygon.findIndex((other) => distance(other, [x, y]) <= EPSILON);
    if (twin < index) return `repeats point ${twin + 1} as point ${index + 1} (a polygon closes by itself)`;
  }
  if (areaOf(polygon) <= EPSILON && polygon.every((point) => onLine(polygon, point))) {
    return 'has no area: its points lie on one line';
  }
  const edges = edgesOf(polygon);
  for (let a = 0; a < edges.length; a++) {
    for (let b = a + 1; b < edges.length; b++) {
      const neighbours = b === a + 1 || (a === 0 && b === edges.length - 1);
      if (neighbours ? foldsBack(polygon, b === a + 1 ? b : 0) : segmentsTouch(at(edges, a), at(edges, b))) {
        return `crosses itself: edge ${a + 1} meets edge ${b + 1}`;
      }
    }
  }
  return undefined;
}

function placeProblem(hole: Polygon, outer: Polygon, others: readonly Polygon[]): string | undefined {
  const leaves = hole.some((point) => position(outer, point) === 'outside') || properlyCross(hole, outer);
  if (leaves || outer.some((point) => position(hole, point) === 'inside')) return 'leaves the polygon';
  const other = others.findIndex(
    (one) => properlyCross(hole, one) || insideOf(hole, one) || insideOf(one, hole),
  );
  return other >= 0 ? `overlaps hole ${other + 1}` : undefined;
}

/** Whether the polygons' areas overlap, if their borders don't cross: whether some corner or middle is inside. */
function insideOf(inner: Polygon, outer: Polygon): boolean {
  const middles = edgesOf(inner).map(([a, b]): Point => [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2]);
  const places = [...inner, ...middles].map((point) => position(outer, point));
  return places.includes('inside') || places.every((place) => place === 'border');
}

/** Ray casting, with the border as a separate case. Hormann and Agathos, 'The point in polygon problem', 2001. */
function position(polygon: Polygon, point: Point): 'inside' | 'outside' | 'border' {
  let inside = false;
  for (const [a, b] of edgesOf(polygon)) {
    if (distanceToSegment(point, a, b) <= EPSILON) return 'border';
    if (a[1] > point[1] !== b[1] > point[1]) {
      const crossing = a[0] + ((point[1] - a[1]) / (b[1] - a[1])) * (b[0] - a[0]);
      if (crossing > point[0]) inside = !inside;
    }
  }
  return inside ? 'inside' : 'outside';
}

/**
 * Area that a simple polygon shares with a box. The polygon is clipped at each side of the box in turn. Sutherland and
 * Hodgman, 'Reentrant polygon clipping', 1974. If a concave polygon splits, the bridges that remain have no area.
 */
function overlapArea(polygon: Polygon, [x1, y1, x2, y2]: RelativeBox): number {
  let cut = clip(polygon, 0, x1, 1);
  cut = clip(cut, 0, x2, -1);
  cut = clip(cut, 1, y1, 1);
  return areaOf(clip(cut, 1, y2, -1));
}

function clip(polygon: Polygon, axis: 0 | 1, limit: number, sign: 1 | -1): Point[] {
  const kept: Point[] = [];
  for (const [a, b] of edgesOf(polygon)) {
    const from = sign * (a[axis] - limit);
    const to = sign * (b[axis] - limit);
    if (from >= 0) kept.push(a);
    if (from * to < 0) {
      const t = from / (from - to);
      kept.push([a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1])]);
    }
  }
  return kept;
}

/** Area of a polygon, in the square of its unit. Shoelace formula. */
export function areaOf(polygon: Polygon): number {
  return Math.abs(edgesOf(polygon).reduce((sum, [a, b]) => sum + a[0] * b[1] - b[0] * a[1], 0)) / 2;
}

/**
 * Side of the line through `a` and `b` on which a point lies, times the length of `ab`. Positive: to the right of a
 * person who walks from `a` to `b` on the picture. Negative: to the left.
 */
export function sideOf([a, b]: Segment, point: Point): number {
  return (b[0] - a[0]) * (point[1] - a[1]) - (b[1] - a[1]) * (point[0] - a[0]);
}

export type Segment = readonly [a: Point, b: Point];

/** Whether two segments share a point, ends included. */
export function segmentsTouch(one: Segment, two: Segment): boolean {
  const isOn = (line: Segment) => (end: Point) => distanceToSegment(end, ...line) <= EPSILON;
  return cross(one, two) || one.some(isOn(two)) || two.some(isOn(one));
}

/** Whether two segments cross at a point that is an end of neither. */
function cross(one: Segment, two: Segment): boolean {
  const apart = (segment: Segment, [a, b]: Segment) =>
    sideOf(segment, a) * sideOf(segment, b) < 0 &&
    [a, b].every((end) => distanceToSegment(end, ...segment) > EPSILON);
  return apart(one, two) && apart(two, one);
}

function properlyCross(one: Polygon, two: Polygon): boolean {
  return edgesOf(one).some((edge) => edgesOf(two).some((other) => cross(edge, other)));
}

/** Whether the edges before and after a corner overlap. */
function foldsBack(polygon: Polygon, corner: number): boolean {
  const before = at(polygon, (corner + polygon.length - 1) % polygon.length);
  const point = at(polygon, corner);
  const after = at(polygon, (corner + 1) % polygon.length);
  return (
    distanceToSegment(after, before, point) <= EPSILON || distanceToSegment(before, point, after) <= EPSILON
  );
}

function onLine([a, b]: Polygon, point: Point): boolean {
  return a !== undefined && b !== undefined && Math.abs(sideOf([a, b], point)) <= EPSILON * distance(a, b);
}

/** Each side of a polygon, the one from the last corner to the first included. */
export function edgesOf(polygon: Polygon): Segment[] {
  return polygon.map((point, index) => [point, at(polygon, (index + 1) % polygon.length)]);
}

function distanceToSegment(point: Point, a: Point, b: Point): number {
  const length2 = (b[0] - a[0]) ** 2 + (b[1] - a[1]) ** 2;
  if (length2 === 0) return distance(point, a);
  const along = ((point[0] - a[0]) * (b[0] - a[0]) + (point[1] - a[1]) * (b[1] - a[1])) / length2;
  const t = Math.min(1, Math.max(0, along));
  return distance(point, [a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1])]);
}

function distance(a: Point, b: Point): number {
  // Math.hypot protects against overflow, which can't happen in 0..1, and is many times slower.
  return Math.sqrt((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2);
}

/** The item at an index that the list has. */
export function at<Item>(list: { readonly [index: number]: Item }, index: number): Item {
  return list[index] as Item;
}

// Not part of the package's main export: the console's page loads it, too.

/** A key point with less confidence is not drawn, and not labelled for training. */
const SURE = 0.5;
/** Key points of a person in COCO: nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles. */
const PERSON_POINTS = 17;
/** Which of them are joined. https://cocodataset.org/#format-data */
const SKELETON: [number, number][] = [
  [15, 13],
  [13, 11],
  [16, 14],
  [14, 12],
  [11, 12],
  [5, 11],
  [6, 12],
  [5, 6],
  [5, 7],
  [6, 8],
  [7, 9],
  [8, 10],
  [1, 2],
  [0, 1],
  [0, 2],
  [1, 3],
  [2, 4],
  [3, 5],
  [4, 6],
];

/** Pixels. */
type Point = readonly [x: number, y: number];

/**
 * The key points that are sure, each in its place. One without a confidence is sure.
 * @param keypoints each `[x, y]` or `[x, y, confidence]`, in the model's order
 * @example
 * surePoints([[10, 20, 0.9], [30, 40, 0.1]]); // => [[10, 20], undefined]
 */
export function surePoints(keypoints: readonly (readonly number[])[]): (Point | undefined)[] {
  return keypoints.map(([x = 0, y = 0, confidence = 1]) => (confidence >= SURE ? [x, y] : undefined));
}

/** The lines of a person's skeleton whose ends are both sure. None if these are not the key points of a person. */
export function skeletonOf(points: readonly (Point | undefined)[]): [Point, Point][] {
  if (points.length !== PERSON_POINTS) return [];
  return SKELETON.flatMap(([from, to]) => {
    const [start, end] = [points[from], points[to]];
    return start && end ? [[start, end] as [Point, Point]] : [];
  });
}

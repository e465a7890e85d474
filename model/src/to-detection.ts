import type { Detection } from '@video-pipeline/frame';
import type { Candidate, Point } from './heads/index.ts';
import { toPicture } from './letterbox.ts';
import type { Picture } from './picture.ts';

/** A candidate in pixels of the picture, cut at its edges. */
export function toDetection(candidate: Candidate, picture: Picture, class_name: string): Detection {
  const { classId, score, box, polygon, keypoints, oriented } = candidate;
  const { width, height } = picture;
  const inPicture = ([x, y]: Point): Point => {
    const { left, top, scaleX, scaleY } = picture.box;
    // The corners of an oriented box are not cut at the picture's edges: it would be another box.
    if (oriented) return rounded([(x - left) / scaleX, (y - top) / scaleY]);
    const [cutX, cutY] = toPicture([x, y, x, y], picture.box, width, height);
    return rounded([cutX, cutY]);
  };
  const bbox = toPicture(box, picture.box, width, height);
  return {
    class_id: classId,
    class_name,
    confidence: round(score, 4),
    bbox: bbox.map((side) => round(side, 2)) as Detection['bbox'],
    ...(polygon && { polygon: polygon.map(inPicture) }),
    ...(keypoints && {
      keypoints: keypoints.map(([x = 0, y = 0, ...sure]) => [
        ...inPicture([x, y]),
        ...sure.map((confidence) => round(confidence, 2)),
      ]),
    }),
  };
}

/** A tenth of a pixel is enough: an outline has many points. */
const rounded = ([x, y]: Point): Point => [round(x, 1), round(y, 1)];

function round(value: number, digits: number): number {
  return Math.round(value * 10 ** digits) / 10 ** digits;
}

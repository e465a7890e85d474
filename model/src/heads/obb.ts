import type { Candidate, Head, Oriented, Point } from './head.ts';
import { decodeList, end2end } from './listed.ts';
import { corners } from './rows.ts';
import { decodeAnchors, yolov8 } from './yolov8.ts';

/**
 * Ultralytics' oriented boxes: the output of YOLOv8 with the angle after the classes, `[N, 4 + C + 1, A]`, radians,
 * clockwise. The box around the corners is the candidate's box.
 * @see https://docs.ultralytics.com/tasks/obb/
 */
export const yolov8Obb: Head = {
  ...yolov8,
  task: 'obb',
  decode: ([output], image, { threshold }) => decodeAnchors(output, image, threshold, 1).map(orient),
};

/** The same with suppression inside, or YOLO26 without: `[N, 300, 7]`: cx, cy, w, h, score, class, angle. */
export const end2endObb: Head = {
  task: 'obb',
  needsSuppression: false,
  preprocessing: end2end.preprocessing,
  decode: (outputs, image, options) =>
    decodeList(outputs, image, options).map((one) => orient({ ...one, box: corners(...one.box) })),
};

/** Turns the box about its centre. */
function orient({ extra, box: [x1, y1, x2, y2], ...rest }: Candidate): Candidate {
  const [x, y, width, height] = [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1];
  const angle = extra?.[0] ?? Number.NaN;
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  const at = (along: number, across: number): Point => [
    x + (along * width * cos - across * height * sin) / 2,
    y + (along * width * sin + across * height * cos) / 2,
  ];
  const polygon = [at(1, 1), at(1, -1), at(-1, -1), at(-1, 1)];
  const [reachX, reachY] = [
    (Math.abs(width * cos) + Math.abs(height * sin)) / 2,
    (Math.abs(width * sin) + Math.abs(height * cos)) / 2,
  ];
  const box: Candidate['box'] = [x - reachX, y - reachY, x + reachX, y + reachY];
  return { ...rest, box, polygon, oriented: [x, y, width, height, angle] };
}

/** Keeps a logarithm finite. */
const TINY = 1e-7;

/**
 * How much two oriented boxes overlap, 0..1: one minus Hellinger's distance of the normal distributions that have their
 * centres, sides and angles.
 * @see https://arxiv.org/abs/2106.06072
 */
export function orientedOverlap(one: Oriented, other: Oriented): number {
  const [a1, b1, c1] = spreadOf(one);
  const [a2, b2, c2] = spreadOf(other);
  const [dx, dy] = [other[0] - one[0], other[1] - one[1]];
  const [a, b, c] = [a1 + a2, b1 + b2, c1 + c2];
  const both = a * b - c * c;
  const distance = (a * dy * dy + b * dx * dx - 2 * c * dx * dy) / (4 * (both + TINY));
  const each = Math.sqrt(Math.max(0, a1 * b1 - c1 * c1) * Math.max(0, a2 * b2 - c2 * c2));
  const shape = Math.log(both / (4 * each + TINY) + TINY) / 2;
  const bhattacharyya = Math.min(100, Math.max(TINY, distance + shape));
  return 1 - Math.sqrt(1 - Math.exp(-bhattacharyya) + TINY);
}

/** Variances along x and y, and covariance, of a box whose points are equally likely. */
function spreadOf([, , width, height, angle]: Oriented): [number, number, number] {
  const [along, across] = [(width * width) / 12, (height * height) / 12];
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  return [
    along * cos * cos + across * sin * sin,
    along * sin * sin + across * cos * cos,
    (along - across) * cos * sin,
  ];
}

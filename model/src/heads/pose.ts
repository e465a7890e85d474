import type { Candidate, DecodeOptions, DetailOptions, Head, OutputTensor } from './head.ts';
import { decodeList, end2end } from './listed.ts';
import { decodeAnchors, yolov8 } from './yolov8.ts';

/**
 * Ultralytics' pose: the output of YOLOv8 with K key points of D values after the classes, `[N, 4 + C + K * D, A]`:
 * x and y in pixels, and with D = 3 a confidence.
 * @see https://docs.ultralytics.com/tasks/pose/
 */
export const yolov8Pose: Head = {
  ...yolov8,
  task: 'pose',
  decode: ([output], image, options) =>
    decodeAnchors(output, image, options.threshold, valuesOf(options.keypoints)),
  finish: withKeypoints,
};

/** The same with suppression inside, or YOLO26 without: `[N, 300, 6 + K * D]`. */
export const end2endPose: Head = { ...end2end, task: 'pose', decode: decodeList, finish: withKeypoints };

/** Number of values of all key points of an object. */
export function valuesOf([points, values]: DecodeOptions['keypoints'] = [0, 0]): number {
  return points * values;
}

function withKeypoints(
  { extra = new Float32Array(), ...kept }: Candidate,
  _outputs: readonly OutputTensor[],
  _image: number,
  { keypoints: [points, values] = [0, 0] }: DetailOptions,
): Candidate {
  const keypoints = Array.from({ length: points }, (_, at) => [
    ...extra.subarray(at * values, (at + 1) * values),
  ]);
  return { ...kept, keypoints };
}

/** A tensor as the runtime gives it, float32, row-major. */
export interface OutputTensor {
  name: string;
  dims: readonly number[];
  data: Float32Array;
}

/** One object in pixels of the model's input, before it is taken back to the picture. */
export interface Candidate {
  classId: number;
  /** 0..1 */
  score: number;
  /** `[x1, y1, x2, y2]` */
  box: [number, number, number, number];
}

/** The model's input size and options for one picture's decoding. */
export interface DecodeOptions {
  /** Candidates under it are left out, 0..1. */
  threshold: number;
  inputWidth: number;
  inputHeight: number;
}

/** How a family's models want their pictures. */
export interface Preprocessing {
  /** RGB 0..1; RGB 0..255; BGR 0..255; or RGB 0..1 normalised by ImageNet's mean and deviation. */
  normalisation: 'unit' | 'rgb255' | 'bgr255' | 'imagenet';
  /** Grey bars around the picture; right and below it alone; or none, its sides stretched. */
  fit: 'centre' | 'corner' | 'stretch';
}

/**
 * Whether a candidate can be an object at all. What a broken weight or a wrong family makes of one (NaN, infinity, a class
 * between two) must not pass, and must not take its neighbours with it.
 */
export function isSound({ score, classId, box }: Candidate): boolean {
  return (
    score >= 0 &&
    score <= 1 + SCORE_SLACK &&
    Number.isInteger(classId) &&
    classId >= 0 &&
    box.every(Number.isFinite)
  );
}

/** What half precision may add to a score of 1. */
const SCORE_SLACK = 1e-2;

/** One output in which each anchor has a box, scores of classes and, in some families, objectness between the two. */
export interface AnchorLayout {
  /** `[N, values, anchors]`; otherwise `[N, anchors, values]`. */
  isChannelsFirst: boolean;
  /** A score is the product of the class's and the anchor's. */
  hasObjectness: boolean;
  /** @returns corners in pixels of the model's input */
  toBox(
    values: readonly [number, number, number, number],
    anchor: number,
    options: DecodeOptions,
  ): Candidate['box'];
}

/** What turns a family's raw outputs into objects. Pure. */
export interface Head {
  /** Whether overlapping candidates of one object remain, so that non-maximum suppression must follow. */
  needsSuppression: boolean;
  preprocessing: Preprocessing;
  /** For families with anchors: the best of them may be chosen inside the model. */
  anchors?: AnchorLayout;
  /** @returns candidates of the `image`-th picture of the batch */
  decode(outputs: readonly OutputTensor[], image: number, options: DecodeOptions): Candidate[];
}

/** An output tensor of the runtime, float32, row-major. */
export interface OutputTensor {
  name: string;
  dims: readonly number[];
  data: Float32Array;
}

/** One object, in pixels of the model's input. It is not yet converted to pixels of the picture. */
export interface Candidate {
  classId: number;
  /** 0..1 */
  score: number;
  /** `[x1, y1, x2, y2]` */
  box: [number, number, number, number];
  /** Values of the model's row after the classes: what {@link Head.finish} needs. */
  extra?: Float32Array;
  /** Outline of the object's mask, or the four corners of its oriented box. */
  polygon?: Point[];
  oriented?: Oriented;
  /** Key points, each `[x, y]` or `[x, y, confidence]`. */
  keypoints?: number[][];
}

/** A box turned about its centre, radians clockwise: its sides before it was turned. */
export type Oriented = readonly [x: number, y: number, width: number, height: number, angle: number];

/** `[x, y]` */
export type Point = [x: number, y: number];

/** Tasks of the models that can be served, by Ultralytics' names. */
export type Task = 'detect' | 'segment' | 'pose' | 'obb' | 'classify';

/** The model's input size and options for one picture's decoding. */
export interface DecodeOptions {
  /** Candidates below it are left out, 0..1. */
  threshold: number;
  inputWidth: number;
  inputHeight: number;
  /** How many key points an object of a pose model has, and how many values a key point. */
  keypoints?: KeypointShape | undefined;
}

export type KeypointShape = readonly [points: number, values: number];

/** Options and limits for the details of an object. */
export interface DetailOptions extends Omit<DecodeOptions, 'threshold'> {
  /** Pixels of the picture for each pixel of the model's input. */
  scale: number;
  /** Most points of an outline. */
  maxPoints: number;
}

/** How pictures are prepared for the models of a family. */
export interface Preprocessing {
  /** RGB 0..1; RGB 0..255; BGR 0..255; or RGB 0..1 normalised by ImageNet's mean and deviation. */
  normalisation: 'unit' | 'rgb255' | 'bgr255' | 'imagenet';
  /**
   * `centre`: grey bars around the picture. `corner`: only right and below. `stretch`: no bars, sides stretched.
   * `crop`: the middle of the picture fills the input.
   */
  fit: 'centre' | 'corner' | 'stretch' | 'crop';
}

/**
 * Whether a candidate can be an object at all. Broken weights or a wrong family give NaN, infinity or a fractional
 * class. Such a candidate must not pass, and must not suppress its neighbours.
 */
export function isSound({ score, classId, box, extra }: Candidate): boolean {
  return (
    score >= 0 &&
    score <= 1 + SCORE_SLACK &&
    Number.isInteger(classId) &&
    classId >= 0 &&
    box.every(Number.isFinite) &&
    (extra?.every(Number.isFinite) ?? true)
  );
}

/** Half precision may exceed a score of 1 by this much. */
const SCORE_SLACK = 1e-2;

/** Layout of one output with anchors: each has a box, in some families its objectness, and the scores of classes. */
export interface AnchorLayout {
  /** True for `[N, values, anchors]`, false for `[N, anchors, values]`. */
  isChannelsFirst: boolean;
  /** Whether a score is the product of the class's score and the anchor's objectness. */
  hasObjectness: boolean;
  /** @returns corners in pixels of the model's input */
  toBox(
    values: readonly [number, number, number, number],
    anchor: number,
    options: DecodeOptions,
  ): Candidate['box'];
}

/** Turns a family's raw outputs into objects. Has no side effects. */
export interface Head {
  /** Default: `detect`. */
  task?: Task;
  /** Whether overlapping candidates of one object remain, so that non-maximum suppression must follow. */
  needsSuppression: boolean;
  preprocessing: Preprocessing;
  /** Only for families with anchors. Without a task beyond detection, the best can be chosen inside the graph. */
  anchors?: AnchorLayout;
  /**
   * Where boxes lie as two corners: in the first columns of a `list`, before score and class, or in an `output` of
   * their own. Besides families with anchors, only these allow a card with another form of boxes.
   */
  corners?: 'list' | 'output';
  /** @returns candidates of the `image`-th picture of the batch */
  decode(outputs: readonly OutputTensor[], image: number, options: DecodeOptions): Candidate[];
  /**
   * Adds the outline or the key points of an object. This takes time, so it is done only for objects that are kept.
   * @returns undefined for an object without a single pixel
   */
  finish?(
    kept: Candidate,
    outputs: readonly OutputTensor[],
    image: number,
    options: DetailOptions,
  ): Candidate | undefined;
}

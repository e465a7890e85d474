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
  /** RGB 0..1; BGR 0..255; or RGB 0..1 normalised by ImageNet's mean and deviation. */
  normalisation: 'unit' | 'bgr255' | 'imagenet';
  /** Grey bars around the picture; right and below it alone; or none, its sides stretched. */
  fit: 'centre' | 'corner' | 'stretch';
}

/** What turns a family's raw outputs into objects. Pure. */
export interface Head {
  /** Whether overlapping candidates of one object remain, so that non-maximum suppression must follow. */
  needsSuppression: boolean;
  preprocessing: Preprocessing;
  /** @returns candidates of the `image`-th picture of the batch */
  decode(outputs: readonly OutputTensor[], image: number, options: DecodeOptions): Candidate[];
}

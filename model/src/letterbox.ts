import type { Preprocessing } from './heads/head.ts';
import type { ModelMetadata } from './model-metadata.ts';
import { roundHalfEven } from './resize.ts';

/** Where a picture lies in the model's input, pixels. A scale is the picture's size there divided by its own. */
export interface Letterbox {
  /** Size of the model's input. */
  inputWidth: number;
  inputHeight: number;
  /** Size of the scaled picture within it. */
  width: number;
  height: number;
  /** Grey bars left and above. */
  left: number;
  top: number;
  scaleX: number;
  scaleY: number;
  /** Whether only the middle of the picture is in the input: see `resizeAndCrop`. */
  isCropped?: boolean;
}

/** Sides that are multiples of `stride`, and follow the shape of the picture. */
export interface Rectangle {
  kind: 'rectangle';
  /** Longest side of the scaled picture, pixels. */
  longest: number;
  stride: number;
}

/** Size of the model's input: fixed, or a rectangle. */
export type InputSize = { kind: 'fixed'; width: number; height: number } | Rectangle;

/** Longest side of the input if neither the model's shape nor its metadata gives it, pixels. */
const DEFAULT_SIDE = 640;
/** Coarsest stride of all supported families, pixels. */
const DEFAULT_STRIDE = 32;

/** The size of a model's input, from the sizes that its graph states and its metadata. */
export function inputSizeOf(
  height: number | string | undefined,
  width: number | string | undefined,
  metadata: Pick<ModelMetadata, 'imgsz' | 'stride'>,
): InputSize {
  const [fixedHeight, fixedWidth] = [height, width].map((side) =>
    typeof side === 'number' ? side : undefined,
  );
  const either = fixedHeight ?? fixedWidth;
  // If only one side is fixed, the other comes from the metadata, or is as long as the fixed one.
  if (either !== undefined) {
    const [saidHeight = either, saidWidth = either] = metadata.imgsz ?? [];
    return { kind: 'fixed', width: fixedWidth ?? saidWidth, height: fixedHeight ?? saidHeight };
  }
  const longest = Math.max(...(metadata.imgsz ?? [DEFAULT_SIDE]));
  return { kind: 'rectangle', longest, stride: metadata.stride ?? DEFAULT_STRIDE };
}

/**
 * Fits a picture into the model's input. It keeps the picture's shape unless `fit` is `stretch`. For a rectangle input,
 * bars fill only up to the next multiple of the stride: 1280 x 720 becomes 640 x 384, not 640 x 640.
 * The rounding is that of Ultralytics' `LetterBox` (`ultralytics/data/augment.py`, `auto=True`, `scaleup=True`).
 */
export function letterbox(
  pictureWidth: number,
  pictureHeight: number,
  size: InputSize,
  fit: Preprocessing['fit'] = 'centre',
): Letterbox {
  const [boundWidth, boundHeight] =
    size.kind === 'fixed' ? [size.width, size.height] : [size.longest, size.longest];
  const isStretched = fit === 'stretch' || fit === 'crop';
  const scale = Math.min(boundWidth / pictureWidth, boundHeight / pictureHeight);
  const scaled = (side: number, bound: number) =>
    isStretched ? bound : Math.min(bound, Math.max(1, roundHalfEven(side * scale)));
  const [width, height] = [scaled(pictureWidth, boundWidth), scaled(pictureHeight, boundHeight)];
  const padded = (side: number, bound: number) =>
    isStretched || size.kind === 'fixed' ? bound : roundUp(side, size.stride);
  const [inputWidth, inputHeight] = [padded(width, boundWidth), padded(height, boundHeight)];
  const left = fit === 'corner' ? 0 : Math.floor((inputWidth - width) / 2);
  const top = fit === 'corner' ? 0 : Math.floor((inputHeight - height) / 2);
  // Each side by its own scale, since each is rounded to whole pixels.
  const scales = { scaleX: width / pictureWidth, scaleY: height / pictureHeight };
  const place = { inputWidth, inputHeight, width, height, left, top, ...scales };
  return fit === 'crop' ? { ...place, isCropped: true } : place;
}

/** Converts a box `[x1, y1, x2, y2]` from pixels of the model's input to pixels of the picture, cut at its edges. */
export function toPicture(
  box: readonly [number, number, number, number],
  { left, top, scaleX, scaleY }: Letterbox,
  pictureWidth: number,
  pictureHeight: number,
): [number, number, number, number] {
  return [
    clamp((box[0] - left) / scaleX, pictureWidth),
    clamp((box[1] - top) / scaleY, pictureHeight),
    clamp((box[2] - left) / scaleX, pictureWidth),
    clamp((box[3] - top) / scaleY, pictureHeight),
  ];
}

/** Longest side of a rectangle input, pixels. */
export function longestSide({ longest, stride }: Rectangle): number {
  return roundUp(longest, stride);
}

/** The square input that holds pictures of every shape. */
export function squareOf(size: Rectangle): InputSize {
  const side = longestSide(size);
  return { kind: 'fixed', width: side, height: side };
}

const roundUp = (value: number, multiple: number) => Math.ceil(value / multiple) * multiple;
const clamp = (value: number, max: number) => Math.min(Math.max(value, 0), max);

import { PictureError, type PictureHeader } from '@video-pipeline/picture';
import { decodeRgb, decoderOf, MAX_SECONDS } from '@video-pipeline/picture/codec';
import sharp, { type Sharp } from 'sharp';
import { halve } from './halve.ts';
import type { Letterbox } from './letterbox.ts';

/** The grey of letterbox bars that YOLO models are trained with. */
const BAR = 114;
const BAR_COLOUR = { r: BAR, g: BAR, b: BAR };
/** Enlarged further, more than the outermost pixels would be lost in the bars. */
const MOST_BILINEAR = 2;

/** What libvips says of a plain JPEG; to ask it costs as much as a hundredth of a small model's run. */
const PLAIN = { space: 'srgb', hasAlpha: false };

// Pictures come from strangers: no loader but these is open to them.
sharp.block({ operation: ['VipsForeignLoad'] });
sharp.unblock({ operation: ['VipsForeignLoadJpeg', 'VipsForeignLoadPng', 'VipsForeignLoadWebp'] });

/** A picture, decoded and scaled, ready to be laid into the model's input. */
export interface Picture {
  /** Size of the picture as it came (upright), pixels. */
  width: number;
  height: number;
  box: Letterbox;
  /** RGB bytes, `box.height` rows of `box.width`. */
  rgb: Uint8Array;
}

/** How pictures are scaled. */
export interface DecodeOptions {
  /** Says where a picture of some width and height is to lie in the model's input. */
  place(width: number, height: number): Letterbox;
  /** `opencv` shrinks as OpenCV's bilinear resize does, to the bit where it halves, at half as much time again. */
  resize: 'fast' | 'opencv';
  /** Whether the calling thread has 2 ms a picture to halve it: exactly as OpenCV does, and faster than libvips. */
  mayHalveHere: boolean;
}

/**
 * Decodes a JPEG (or PNG, WebP), upright by its EXIF orientation, scaled to fit the model's input. Runs on libuv's
 * threads, not on the calling one.
 * @param header what `readPictureHeader` says of it, which bounds the work of decoding it
 * @throws PictureError
 */
export async function decodePicture(
  bytes: Uint8Array,
  header: PictureHeader,
  options: DecodeOptions,
): Promise<Picture> {
  try {
    if (decoderOf(header) === 'turbo') return await decodeThenScale(bytes, header, options);
    return await scaleWhileDecoding(bytes, header, options);
  } catch (cause) {
    throw pictureError(cause);
  }
}

async function decodeThenScale(
  bytes: Uint8Array,
  header: PictureHeader,
  { place, resize, mayHalveHere }: DecodeOptions,
): Promise<Picture> {
  const { width, height } = header;
  const box = place(width, height);
  const shrunk = Math.min(width / box.width, height / box.height);
  // Shrunk by four or more, a part of the samples is enough, unless OpenCV's two taps want all: at least half of the way is
  // left to the better filter below. What does not divide would end beside the picture.
  const fits = (one: number) => 2 * one <= shrunk && width % one === 0 && height % one === 0;
  const divisor = resize === 'opencv' ? 1 : (DIVISORS.findLast(fits) ?? 1);
  const { data, ...size } = await decodeRgb(bytes, header, { divisor });
  if (size.width === box.width && size.height === box.height) return { width, height, box, rgb: data };
  if (size.width === 2 * box.width && size.height === 2 * box.height && mayHalveHere)
    return { width, height, box, rgb: halve(data, box.width, box.height) };
  const image = sharp(data, { raw: { ...size, channels: 3 } });
  return {
    width,
    height,
    box,
    rgb: await scale(image, size.width, size.height, box, resize).raw().toBuffer(),
  };
}

/** At which parts of its sides a JPEG may be decoded. */
const DIVISORS = [2, 4, 8] as const;

async function scaleWhileDecoding(
  bytes: Uint8Array,
  header: PictureHeader,
  options: DecodeOptions,
): Promise<Picture> {
  // Should libvips find another header than we did, it holds the limit.
  const limitInputPixels = header.width * header.height;
  const image = sharp(bytes, { limitInputPixels, failOn: 'truncated' }).timeout({ seconds: MAX_SECONDS });
  const { autoOrient, space, hasAlpha } = header.jpeg?.isPlain
    ? { ...PLAIN, autoOrient: header }
    : await image.metadata();
  const { width, height } = autoOrient;
  const box = options.place(width, height);
  const scaled = scale(image.autoOrient(), width, height, box, options.resize);
  // Most pictures are plain already, and what changes nothing costs, too.
  if (space !== 'srgb') scaled.toColourspace('srgb');
  if (hasAlpha) scaled.flatten({ background: BAR_COLOUR });
  const { data, info } = await scaled.raw().toBuffer({ resolveWithObject: true });
  if (data.length !== box.width * box.height * 3) {
    throw new PictureError(`it became ${info.width} x ${info.height} x ${info.channels}`);
  }
  return { width, height, box, rgb: data };
}

/** @returns the error that says of a picture why it can't be decoded */
export function pictureError(cause: unknown): PictureError {
  const reason = cause instanceof Error ? cause.message.trim() : String(cause);
  return new PictureError(`not a picture that can be decoded: ${reason}`, { cause });
}

/** Scales to `box`. */
function scale(
  image: Sharp,
  width: number,
  height: number,
  box: Letterbox,
  how: DecodeOptions['resize'],
): Sharp {
  const [x, y] = [box.width / width, box.height / height];
  if (x === 1 && y === 1) return image;
  const isBilinear = x < 1 && y < 1 ? how === 'opencv' : x > 1 && y > 1 && Math.max(x, y) <= MOST_BILINEAR;
  if (!isBilinear) {
    // Of libvips' kernels, the cubic one comes nearest to OpenCV's two taps when it shrinks.
    return image.resize(box.width, box.height, { fit: 'fill', kernel: x < 1 ? 'cubic' : 'linear' });
  }
  // Two taps a side however far it shrinks, between the centres of pixels: `cv2.resize` with INTER_LINEAR. When it
  // enlarges, libvips' own resize would set the picture off by half a pixel.
  return image.affine([x, 0, 0, y], {
    interpolator: 'bilinear',
    odx: (x - 1) / 2,
    ody: (y - 1) / 2,
    background: BAR_COLOUR,
  });
}

/**
 * Lays pictures of one input size into `frames`, uint8 `[N, inputHeight, inputWidth, 3]`, bars included.
 * @param frames at least {@link frameBytes} a picture long; what it held before does not matter
 */
export function layOut(pictures: readonly Pick<Picture, 'box' | 'rgb'>[], frames: Uint8Array): void {
  let at = 0;
  for (const { box, rgb } of pictures) {
    const row = box.inputWidth * 3;
    const frame = frames.subarray(at, at + box.inputHeight * row);
    at += frame.length;
    if (box.width === box.inputWidth) {
      frame.fill(BAR, 0, box.top * row);
      frame.set(rgb, box.top * row);
      frame.fill(BAR, (box.top + box.height) * row);
      continue;
    }
    frame.fill(BAR);
    const rowBytes = box.width * 3;
    for (let y = 0; y < box.height; y++) {
      const source = rgb.subarray(y * rowBytes, (y + 1) * rowBytes);
      frame.set(source, (box.top + y) * row + box.left * 3);
    }
  }
}

/** Bytes of one frame of the model's input. */
export function frameBytes(box: Letterbox): number {
  return box.inputWidth * box.inputHeight * 3;
}

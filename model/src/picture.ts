import { PictureError, type PictureHeader } from '@video-pipeline/picture';
import { decodeRgb, decoderOf, giveBack } from '@video-pipeline/picture/codec';
import sharp from 'sharp';
import { resizeAndCrop } from './crop.ts';
import type { Letterbox } from './letterbox.ts';
import type { resizeLinear } from './resize.ts';

/** The grey of letterbox bars that YOLO models are trained with. */
const BAR = 114;

// Pictures come from untrusted clients: only these loaders are allowed.
sharp.block({ operation: ['VipsForeignLoad'] });
sharp.unblock({ operation: ['VipsForeignLoadJpeg', 'VipsForeignLoadPng', 'VipsForeignLoadWebp'] });

/** A picture that is decoded and scaled for the model's input. */
export interface Picture {
  /** Size of the original picture (upright), pixels. */
  width: number;
  height: number;
  box: Letterbox;
  /** RGB bytes, `box.height` rows of `box.width`. The memory is released by `giveBack` after {@link layOut}. */
  rgb: Uint8Array;
}

export interface DecodeOptions {
  /** @returns the place of a picture of this width and height in the model's input */
  place(width: number, height: number): Letterbox;
  /** `opencv`: equal to `cv2.resize`, bit for bit. `fast`: JPEGs of four times the size or more are decoded smaller. */
  resize: 'fast' | 'opencv';
  /** {@link resizeLinear}, or a function that runs it on another thread. */
  scale(...picture: Parameters<typeof resizeLinear>): Uint8Array | Promise<Uint8Array>;
}

/**
 * Decodes a JPEG (or PNG, WebP), rotates it upright by its EXIF orientation, and scales it to the model's input. The
 * colours are those of `cv2.imdecode`.
 * @param header result of `readPictureHeader`, which limits the work of decoding
 * @throws PictureError
 */
export async function decodePicture(
  bytes: Uint8Array,
  header: PictureHeader,
  { place, resize, scale }: DecodeOptions,
): Promise<Picture> {
  const divisor = resize === 'fast' && decoderOf(header) === 'turbo' ? divisorFor(header, place) : 1;
  // Only for decoding: a later error is not the picture's fault.
  const { data, ...decoded } = await decodeRgb(bytes, header, { divisor, cmyk: 'as-opencv' }).catch(
    (cause) => {
      throw pictureError(cause);
    },
  );
  const { width, height } = divisor === 1 ? decoded : header;
  const box = place(width, height);
  const fits = decoded.width === box.width && decoded.height === box.height;
  const rgb = fits
    ? data
    : box.isCropped
      ? resizeAndCrop(data, decoded, box)
      : await scale(data, decoded, box.width, box.height);
  if (!fits) giveBack(data);
  return { width, height, box, rgb };
}

/**
 * The divisor by which a JPEG may be decoded at a smaller size. A factor of at least two is left for OpenCV's linear
 * scaling. The divisor must divide both sides: otherwise the last column or row would extend beyond the picture.
 */
function divisorFor({ width, height }: PictureHeader, place: DecodeOptions['place']): 1 | 2 | 4 | 8 {
  const box = place(width, height);
  const shrunk = Math.min(width / box.width, height / box.height);
  const fits = (one: number) => 2 * one <= shrunk && width % one === 0 && height % one === 0;
  return ([2, 4, 8] as const).findLast(fits) ?? 1;
}

/** @returns the error that says why a picture can't be decoded */
export function pictureError(cause: unknown): PictureError {
  const reason = cause instanceof Error ? cause.message.trim() : String(cause);
  return new PictureError(`not a picture that can be decoded: ${reason}`, { cause });
}

/**
 * Writes pictures of one input size into `frames`, uint8 `[N, inputHeight, inputWidth, 3]`, with their bars.
 * @param frames at least {@link frameBytes} bytes for each picture; every byte of them is overwritten
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

export function frameBytes(box: Letterbox): number {
  return box.inputWidth * box.inputHeight * 3;
}

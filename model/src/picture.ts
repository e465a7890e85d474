import { PictureError, type PictureHeader } from '@video-pipeline/picture';
import { decodeRgb, decoderOf, giveBack } from '@video-pipeline/picture/codec';
import sharp from 'sharp';
import type { Letterbox } from './letterbox.ts';
import type { resizeLinear } from './resize.ts';

/** The grey of letterbox bars that YOLO models are trained with. */
const BAR = 114;

// Pictures come from strangers: no loader but these is open to them.
sharp.block({ operation: ['VipsForeignLoad'] });
sharp.unblock({ operation: ['VipsForeignLoadJpeg', 'VipsForeignLoadPng', 'VipsForeignLoadWebp'] });

/** A picture, decoded and scaled, ready to be laid into the model's input. */
export interface Picture {
  /** Size of the picture as it came (upright), pixels. */
  width: number;
  height: number;
  box: Letterbox;
  /** RGB bytes, `box.height` rows of `box.width`; to be given back once they are laid out. */
  rgb: Uint8Array;
}

/** How pictures are scaled. */
export interface DecodeOptions {
  /** Says where a picture of some width and height is to lie in the model's input. */
  place(width: number, height: number): Letterbox;
  /** `opencv` does what `cv2.resize` does, to the bit. `fast` decodes JPEGs of four times the size in part first. */
  resize: 'fast' | 'opencv';
  /** {@link resizeLinear}, or what runs it elsewhere. */
  scale(...picture: Parameters<typeof resizeLinear>): Uint8Array | Promise<Uint8Array>;
}

/**
 * Decodes a JPEG (or PNG, WebP), upright by its EXIF orientation, scaled to fit the model's input. Colours are what
 * `cv2.imdecode` makes of them.
 * @param header what `readPictureHeader` says of it, which bounds the work of decoding it
 * @throws PictureError
 */
export async function decodePicture(
  bytes: Uint8Array,
  header: PictureHeader,
  { place, resize, scale }: DecodeOptions,
): Promise<Picture> {
  try {
    const divisor = resize === 'fast' && decoderOf(header) === 'turbo' ? divisorFor(header, place) : 1;
    const { data, ...decoded } = await decodeRgb(bytes, header, { divisor, cmyk: 'as-opencv' });
    const { width, height } = divisor === 1 ? decoded : header;
    const box = place(width, height);
    const fits = decoded.width === box.width && decoded.height === box.height;
    const rgb = fits ? data : await scale(data, decoded, box.width, box.height);
    if (!fits) giveBack(data);
    return { width, height, box, rgb };
  } catch (cause) {
    throw pictureError(cause);
  }
}

/**
 * At which part of its sides a JPEG may be decoded: half of the way at least is left to OpenCV's two taps. What does not divide
 * would end beside the picture.
 */
function divisorFor({ width, height }: PictureHeader, place: DecodeOptions['place']): 1 | 2 | 4 | 8 {
  const box = place(width, height);
  const shrunk = Math.min(width / box.width, height / box.height);
  const fits = (one: number) => 2 * one <= shrunk && width % one === 0 && height % one === 0;
  return ([2, 4, 8] as const).findLast(fits) ?? 1;
}

/** @returns the error that says of a picture why it can't be decoded */
export function pictureError(cause: unknown): PictureError {
  const reason = cause instanceof Error ? cause.message.trim() : String(cause);
  return new PictureError(`not a picture that can be decoded: ${reason}`, { cause });
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

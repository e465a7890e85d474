import sharp from 'sharp';
import { MAX_SCANS, type PictureHeader } from './header.ts';
import { giveBack, takeMemory } from './memory.ts';
import { PictureError } from './picture-error.ts';
import { decompress, type SampleForm, turbo } from './turbojpeg.ts';

/** RGB bytes, `height` rows of `width` pixels. */
interface Rgb {
  data: Buffer;
  width: number;
  height: number;
}

/**
 * A picture to be drawn on and encoded again. `rgb` is {@link Rgb}. `yuv` is YCbCr (JFIF) in 4:2:0: a byte of luma for
 * each pixel, with the sides rounded up to even numbers, then a quarter as many bytes of Cb, then as many of Cr.
 */
export interface Raster extends Rgb {
  form: SampleForm;
}

/** The size at which a picture is decoded, and how its colours are converted. */
interface DecodeRgbOptions {
  /**
   * Decodes at `1 / divisor` of the sides, rounded up, in less time. It only applies to pictures that libjpeg-turbo
   * decodes.
   */
  divisor?: 1 | 2 | 4 | 8;
  /** CMYK with its colour profile, for viewing (the default), or without, as OpenCV decodes it for a model. */
  cmyk?: 'by-profile' | 'as-opencv';
}

/**
 * Longest time of libvips on one picture, seconds. It checks the time between two rows. The header's check limits the
 * work: the costliest JPEG that passes it (49 million pixels of noise, 30 MB, progressive) took 1.5 s on an EPYC. This
 * limit is for a decoder that hangs. It is far longer, since a valid picture must not fail on a busy machine.
 */
const MAX_SECONDS = 30;
/** Most samples of a picture for libjpeg-turbo: half a second of work. Unlike libvips, it has no deadline. */
const MAX_TURBO_WORK = 50_000_000;

// The threads and the cache of libvips are of no use: pictures are decoded in parallel, each once.
sharp.concurrency(1);
sharp.cache(false);

/**
 * The decoder for a picture. libjpeg-turbo takes a third of the time of libvips. The pixels are the same, since libvips
 * uses it, too. But it supports neither colour profiles nor EXIF nor other formats.
 */
export function decoderOf({ jpeg, work }: PictureHeader): 'turbo' | 'vips' {
  return turbo && jpeg?.isPlain && work <= MAX_TURBO_WORK ? 'turbo' : 'vips';
}

/**
 * Decodes a picture, upright by its EXIF orientation, on libuv's threads.
 * @param header result of `readPictureHeader`, which limits the work of decoding
 * @returns pixels that may be given to {@link giveBack} once they are no longer used
 * @throws PictureError
 */
export async function decodeRgb(
  bytes: Uint8Array,
  header: PictureHeader,
  { divisor = 1, cmyk = 'by-profile' }: DecodeRgbOptions = {},
): Promise<Rgb> {
  if (decoderOf(header) === 'vips') return decodeByVips(bytes, header, cmyk);
  const [width, height] = [Math.ceil(header.width / divisor), Math.ceil(header.height / divisor)];
  return { data: await decodeByTurbo(bytes, header, width * height * 3, divisor), width, height };
}

/**
 * Decodes a picture to be encoded again in 4:2:0, upright, on libuv's threads. A JPEG in 4:2:0 stays in YCbCr: that
 * takes less time, and its colours lose nothing.
 * @param header result of `readPictureHeader`, which limits the work of decoding
 * @returns samples that may be given to {@link giveBack} once they are no longer used
 * @throws PictureError
 * @example
 * const raster = await decodeRaster(jpeg, readPictureHeader(jpeg, { maxPixels: 50_000_000 }));
 * const smaller = await encodeJpeg(raster, { quality: 70 });
 */
export async function decodeRaster(bytes: Uint8Array, header: PictureHeader): Promise<Raster> {
  if (decoderOf(header) === 'vips' || !header.jpeg?.isYuv420)
    return { form: 'rgb', ...(await decodeRgb(bytes, header)) };
  const { width, height } = header;
  const size = (6 * evenUp(width) * evenUp(height)) / 4;
  return { form: 'yuv', data: await decodeByTurbo(bytes, header, size, 1, 'yuv'), width, height };
}

export const evenUp = (side: number) => side + (side % 2);

async function decodeByTurbo(
  bytes: Uint8Array,
  { width, height }: PictureHeader,
  size: number,
  divisor: 1 | 2 | 4 | 8,
  form: SampleForm = 'rgb',
): Promise<Buffer> {
  const { buffer, length } = takeMemory(size);
  const data = Buffer.from(buffer, 0, length);
  const jpeg = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  try {
    await decompress(jpeg, data, divisor, { scans: MAX_SCANS, pixels: width * height }, form);
  } catch (error) {
    giveBack(data);
    throw error;
  }
  return data;
}

async function decodeByVips(
  bytes: Uint8Array,
  { width, height, jpeg }: PictureHeader,
  cmyk: DecodeRgbOptions['cmyk'],
): Promise<Rgb> {
  const image = sharp(bytes, { limitInputPixels: width * height })
    .timeout({ seconds: MAX_SECONDS })
    .autoOrient();
  const isInk = jpeg?.components === 4 && cmyk === 'as-opencv';
  if (isInk) image.pipelineColourspace('cmyk').toColourspace('cmyk');
  // Transparency is dropped, as in OpenCV.
  else image.toColourspace('srgb').removeAlpha();
  const { data, info } = await image
    .raw()
    .toBuffer({ resolveWithObject: true })
    .catch((cause) => {
      // The picture can be decoded once there is memory again.
      if (/\bmemory\b/.test(cause.message)) throw cause;
      throw new PictureError(cause.message.trim(), { cause });
    });
  return { data: isInk ? fromInk(data) : data, width: info.width, height: info.height };
}

/** Converts CMYK (255 is full ink) to RGB without a colour profile, as OpenCV does. */
function fromInk(cmyk: Buffer): Buffer {
  const rgb = Buffer.allocUnsafeSlow((cmyk.length / 4) * 3);
  for (let from = 0, to = 0; from < cmyk.length; from += 4) {
    const light = 255 - (cmyk[from + 3] as number);
    for (let ink = 0; ink < 3; ink++) rgb[to++] = light - (((cmyk[from + ink] as number) * light) >> 8);
  }
  return rgb;
}

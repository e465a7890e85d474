import sharp from 'sharp';
import { MAX_SCANS, type PictureHeader } from './header.ts';
import { giveBack, takeMemory } from './memory.ts';
import { PictureError } from './picture-error.ts';
import { decompress, turbo } from './turbojpeg.ts';

/** RGB bytes, `height` rows of `width` pixels. */
export interface Rgb {
  data: Buffer;
  width: number;
  height: number;
}

/** How much of a picture is decoded, and where it goes. */
export interface DecodeRgbOptions {
  /** A picture is decoded at `1 / divisor` of its sides, rounded up, where libjpeg-turbo takes it: for a part of the time. */
  divisor?: 1 | 2 | 4 | 8;
  /** CMYK by its colour profile, as pictures are shown (the default), or without one, as OpenCV reads it for a model. */
  cmyk?: 'by-profile' | 'as-opencv';
}

/**
 * Longest that libvips works on one picture, seconds; between two rows it looks at the clock. The bound on work is the
 * header's: the costliest JPEG that it lets through (49 million pixels of noise, 30 MB, progressive) took 1.5 s of an EPYC.
 * This is for a decoder that hangs, and far longer, as a busy machine must not make a good picture a bad one.
 */
export const MAX_SECONDS = 30;
/** Samples of a picture that libjpeg-turbo decodes in half a second: no deadline ends it, as one ends libvips. */
const MAX_TURBO_WORK = 50_000_000;

// libvips' own threads and cache only get in the way: pictures are decoded side by side, each once.
sharp.concurrency(1);
sharp.cache(false);

/**
 * Which decoder a picture goes to. libjpeg-turbo gives the same pixels as libvips, which calls it too, in a third of the
 * time; but it knows no colour profile, no EXIF and no other format.
 */
export function decoderOf({ jpeg, work }: PictureHeader): 'turbo' | 'vips' {
  return turbo && jpeg?.isPlain && work <= MAX_TURBO_WORK ? 'turbo' : 'vips';
}

/**
 * Decodes a picture, upright by its EXIF orientation, on libuv's threads.
 * @param header what `readPictureHeader` says of it, which bounds the work of decoding it
 * @returns pixels that may be given to {@link giveBack} once they are done with
 * @throws PictureError
 */
export async function decodeRgb(
  bytes: Uint8Array,
  header: PictureHeader,
  { divisor = 1, cmyk = 'by-profile' }: DecodeRgbOptions = {},
): Promise<Rgb> {
  if (decoderOf(header) === 'vips') return decodeByVips(bytes, header, cmyk);
  const [width, height] = [Math.ceil(header.width / divisor), Math.ceil(header.height / divisor)];
  const { buffer, length } = takeMemory(width * height * 3);
  const data = Buffer.from(buffer, 0, length);
  const jpeg = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  try {
    await decompress(jpeg, data, divisor, { scans: MAX_SCANS, pixels: header.width * header.height });
  } catch (error) {
    giveBack(data);
    throw error;
  }
  return { data, width, height };
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
  // Transparency is left out, as OpenCV does.
  else image.toColourspace('srgb').removeAlpha();
  const { data, info } = await image
    .raw()
    .toBuffer({ resolveWithObject: true })
    .catch((cause) => {
      throw new PictureError(cause.message.trim(), { cause });
    });
  return { data: isInk ? fromInk(data) : data, width: info.width, height: info.height };
}

/** CMYK, 255 for all of an ink, to RGB without a colour profile: as OpenCV does. */
function fromInk(cmyk: Buffer): Buffer {
  const rgb = Buffer.allocUnsafeSlow((cmyk.length / 4) * 3);
  for (let from = 0, to = 0; from < cmyk.length; from += 4) {
    const light = 255 - (cmyk[from + 3] as number);
    for (let ink = 0; ink < 3; ink++) rgb[to++] = light - (((cmyk[from + ink] as number) * light) >> 8);
  }
  return rgb;
}

import sharp from 'sharp';
import type { Raster } from './decode.ts';
import { compress, type EncodeOptions, turbo } from './turbojpeg.ts';

export type { EncodeOptions } from './turbojpeg.ts';

/** Encodes a JPEG, 4:2:0, without metadata, on libuv's threads. */
export async function encodeJpeg(
  { data, width, height, form }: Raster,
  options: EncodeOptions,
): Promise<Buffer> {
  if (turbo) return compress(data, form, width, height, options);
  const { quality, optimise = false } = options;
  return sharp(data, { raw: { width, height, channels: 3 } })
    .jpeg({ quality, chromaSubsampling: '4:2:0', optimiseCoding: optimise })
    .toBuffer();
}

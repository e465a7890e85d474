import sharp from 'sharp';
import type { Rgb } from './decode.ts';
import { compress, turbo } from './turbojpeg.ts';

/**
 * Encodes a JPEG, 4:2:0, without metadata, on libuv's threads.
 * @param quality 1..100
 */
export async function encodeJpeg({ data, width, height }: Rgb, quality: number): Promise<Buffer> {
  if (turbo) return compress(data, width, height, quality);
  return sharp(data, { raw: { width, height, channels: 3 } })
    .jpeg({ quality, chromaSubsampling: '4:2:0', optimiseCoding: false })
    .toBuffer();
}

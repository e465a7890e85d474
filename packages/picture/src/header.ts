import { type JpegHeader, readJpegHeader } from './jpeg-header.ts';
import { PictureError, PictureTooLargeError } from './picture-error.ts';

/** A picture's header, read before anything is decoded. */
export interface PictureHeader {
  format: 'jpeg' | 'png' | 'webp';
  /** Size as stored, before the EXIF orientation, pixels. */
  width: number;
  height: number;
  /** Samples that decoding visits: time and memory grow with them. A 720p JPEG has 1.4 million. */
  work: number;
  /** More properties of a JPEG. */
  jpeg?: JpegHeader;
}

interface PictureLimits {
  maxPixels: number;
  /** The variable that sets this limit, for the error. */
  limit?: string;
  /** Most scans of a JPEG. Left out: {@link MAX_SCANS}. */
  maxScans?: number;
}

/** Longest side of any picture; it is JPEG's limit. A decoder holds a few whole rows in memory. */
const MAX_SIDE = 65_535;
/**
 * More scans than any encoder writes: libjpeg's own script has 10. libvips and libjpeg-turbo's tools have such a limit,
 * too.
 */
export const MAX_SCANS = 100;
/** Samples for each pixel that all scans may visit. libjpeg's script visits 14 if colour has full resolution. */
const MAX_WORK_PER_PIXEL = 16;

const PNG_START = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
/** Start of a JPEG: start of image, and the first byte of the next marker (ITU-T T.81, B.1.1.3). */
const JPEG_START = Buffer.from([0xff, 0xd8, 0xff]);

/** Formats of other tools, with their first bytes and the position of these. */
const OTHERS: readonly [name: string, at: number, ...beginnings: string[]][] = [
  ['a GIF', 0, 'GIF8'],
  ['a TIFF', 0, 'II*\0', 'II+\0', 'MM\0*', 'MM\0+'],
  ['an SVG', 0, '<svg', '<?xml', '<!DOCTYPE'],
  ['a HEIF or AVIF', 4, 'ftyp'],
  ['a JPEG XL', 0, '\xff\x0a', '\0\0\0\x0cJXL '],
  ['a JPEG 2000', 0, '\xff\x4f\xff\x51', '\0\0\0\x0cjP'],
  ['a BMP', 0, 'BM'],
  ['a PDF', 0, '%PDF'],
  ['a Photoshop file', 0, '8BPS'],
];

/**
 * Reads a picture's header. Refuses, by name, pictures of a format that is not decoded here, and pictures that would
 * cost too much to decode. To be called before a picture from outside is decoded.
 * @throws PictureError; PictureTooLargeError for a picture that would cost too much
 * @example
 * const { width, height } = readPictureHeader(jpeg, { maxPixels: 50_000_000 });
 */
export function readPictureHeader(bytes: Uint8Array, limits: PictureLimits): PictureHeader {
  const picture = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const header = read(picture);
  const { width, height, work, jpeg } = header;
  const { maxPixels, maxScans = MAX_SCANS } = limits;
  if (width * height > maxPixels) {
    const limit = limits.limit ? `${limits.limit} (${maxPixels})` : `${maxPixels / 1e6} million pixels`;
    throw new PictureTooLargeError(`${width} x ${height} is over ${limit}`);
  }
  if (Math.max(width, height) > MAX_SIDE) {
    throw new PictureTooLargeError(`${width} x ${height} has a side of over ${MAX_SIDE} pixels`);
  }
  if (jpeg && jpeg.scans > maxScans) {
    throw new PictureTooLargeError(`a JPEG of ${jpeg.scans} scans, over ${maxScans} scans`);
  }
  if (work > MAX_WORK_PER_PIXEL * maxPixels) {
    throw new PictureTooLargeError(
      `${width} x ${height} in ${jpeg?.scans ?? 1} scans is too much work: ${Math.round(work / 1e6)} million samples`,
    );
  }
  return header;
}

function read(picture: Buffer): PictureHeader {
  if (picture.length === 0) throw new PictureError('is empty');
  if (picture.subarray(0, JPEG_START.length).equals(JPEG_START)) {
    const jpeg = readJpegHeader(picture);
    return { format: 'jpeg', width: jpeg.width, height: jpeg.height, work: jpeg.samples, jpeg };
  }
  if (picture.subarray(0, PNG_START.length).equals(PNG_START)) return readPng(picture);
  if (picture.toString('latin1', 0, 4) === 'RIFF' && picture.toString('latin1', 8, 12) === 'WEBP') {
    return readWebp(picture);
  }
  const start = picture.toString('latin1', 0, 64).trimStart();
  const isOf = ([, at, ...beginnings]: (typeof OTHERS)[number]) =>
    beginnings.some((beginning) => start.startsWith(beginning, at));
  const [other] = OTHERS.find(isOf) ?? [];
  if (other) throw new PictureError(`is ${other}; only JPEG, PNG and WebP are decoded`);
  throw new PictureError('is not a JPEG, PNG or WebP');
}

/** @see https://www.w3.org/TR/png-3/#11IHDR */
function readPng(png: Buffer): PictureHeader {
  if (png.length < 29 || png.toString('latin1', 12, 16) !== 'IHDR')
    throw new PictureError('a PNG without IHDR');
  const [width, height] = [png.readUInt32BE(16), png.readUInt32BE(20)];
  if (width === 0 || height === 0) throw new PictureError(`a PNG of ${width} x ${height}`);
  if (png.includes('acTL')) refuseAnimatedPng(png);
  const [depth, colour, interlace] = [png.readUInt8(24), png.readUInt8(25), png.readUInt8(28)];
  const channels = [1, 1, 3, 3, 2, 1, 4][colour] ?? 4;
  const bytes = depth === 16 ? 2 : 1;
  // An interlaced PNG is held in memory whole, and decoded in seven passes.
  return { format: 'png', width, height, work: width * height * channels * bytes * (interlace ? 4 : 1) };
}

/** An animation has a chunk `acTL` before its data. */
function refuseAnimatedPng(png: Buffer): void {
  for (let at = 8; at + 8 <= png.length; at += 12 + png.readUInt32BE(at)) {
    const type = png.toString('latin1', at + 4, at + 8);
    if (type === 'acTL') throw new PictureError('is an animated PNG; only still pictures are decoded');
    if (type === 'IDAT') return;
  }
}

/** @see https://developers.google.com/speed/webp/docs/riff_container */
function readWebp(webp: Buffer): PictureHeader {
  if (webp.length < 30) throw new PictureError('a WebP cut off in its header');
  const { width, height } = webpSize(webp);
  if (width === 0 || height === 0) throw new PictureError(`a WebP of ${width} x ${height}`);
  return { format: 'webp', width, height, work: width * height * 4 };
}

function webpSize(webp: Buffer): { width: number; height: number } {
  switch (webp.toString('latin1', 12, 16)) {
    case 'VP8 ':
      return { width: webp.readUInt16LE(26) & 0x3fff, height: webp.readUInt16LE(28) & 0x3fff };
    case 'VP8L': {
      const bits = webp.readUInt32LE(21);
      return { width: (bits & 0x3fff) + 1, height: ((bits >>> 14) & 0x3fff) + 1 };
    }
    case 'VP8X':
      if (webp.readUInt8(20) & 2)
        throw new PictureError('is an animated WebP; only still pictures are decoded');
      return { width: webp.readUIntLE(24, 3) + 1, height: webp.readUIntLE(27, 3) + 1 };
    default:
      throw new PictureError('a WebP without a picture');
  }
}

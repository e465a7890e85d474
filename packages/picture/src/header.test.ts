import { deflateSync } from 'node:zlib';
import sharp, { type Sharp } from 'sharp';
import { describe, expect, test } from 'vitest';
import { manyScans } from '../../../test/support/many-scans.ts';
import { readPictureHeader } from './header.ts';
import { PictureError } from './picture-error.ts';

const LIMITS = { maxPixels: 50_000_000, limit: 'MAX_FRAME_PIXELS' };
const picture = (channels: 3 | 4 = 3, width = 301, height = 178) =>
  sharp({ create: { width, height, channels, background: { r: 200, g: 90, b: 20, alpha: 0.5 } } });
/** Where the frame header stands: of a baseline, or a progressive JPEG. */
const sof = (jpeg: Buffer) =>
  Math.max(...[0xc0, 0xc2].map((kind) => jpeg.indexOf(Buffer.from([0xff, kind, 0, 17]))));

test.each([
  ['baseline JPEG', picture().jpeg(), 'jpeg', 301 * 178 * 1.5],
  ['progressive JPEG', picture().jpeg({ progressive: true }), 'jpeg', 301 * 178 * 8],
  ['JPEG in 4:4:4', picture().jpeg({ chromaSubsampling: '4:4:4' }), 'jpeg', 301 * 178 * 3],
  ['JPEG in grey', picture().toColourspace('b-w').jpeg(), 'jpeg', 301 * 178],
  ['JPEG in CMYK', picture().toColourspace('cmyk').jpeg(), 'jpeg', 301 * 178 * 4],
  ['PNG', picture().png(), 'png', 301 * 178 * 3],
  ['PNG of 16 bits with transparency', picture(4).toColourspace('rgb16').png(), 'png', 301 * 178 * 8],
  ['lossy WebP', picture().webp(), 'webp', 301 * 178 * 4],
  ['lossless WebP', picture().webp({ lossless: true }), 'webp', 301 * 178 * 4],
  ['WebP with transparency', picture(4).webp(), 'webp', 301 * 178 * 4],
])('reads size and decoding work of a %s', async (_, image, format, work) => {
  const header = readPictureHeader(await image.toBuffer(), LIMITS);
  expect(header).toMatchObject({ format, width: 301, height: 178 });
  expect(header.work / work).toBeGreaterThan(0.9);
  expect(header.work / work).toBeLessThan(1.3);
});

describe('isPlain is true only for YUV JPEGs that need no conversion', () => {
  test.each<[string, Sharp, boolean]>([
    ['baseline', picture().jpeg(), true],
    ['progressive', picture().jpeg({ progressive: true }), true],
    ['optimised', picture().jpeg({ mozjpeg: true }), true],
    ['turned by EXIF', picture().jpeg().withMetadata({ orientation: 6 }), false],
    ['with a colour profile', picture().jpeg().withIccProfile('p3'), false],
    ['in grey', picture().toColourspace('b-w').jpeg(), false],
    ['in CMYK', picture().toColourspace('cmyk').jpeg(), false],
  ])('%s', async (_, image, isPlain) => {
    expect(readPictureHeader(await image.toBuffer(), LIMITS).jpeg?.isPlain).toBe(isPlain);
  });
});

describe('a picture that is too costly or of another format is rejected with the reason, without decoding', () => {
  const changed = async (change: (jpeg: Buffer, frame: number) => void) => {
    const jpeg = await picture().jpeg().toBuffer();
    change(jpeg, sof(jpeg));
    return jpeg;
  };
  /** A header alone says how large a picture is. */
  const sized = (jpeg: Buffer, width: number, height: number) => {
    jpeg.writeUInt16BE(height, sof(jpeg) + 5);
    jpeg.writeUInt16BE(width, sof(jpeg) + 7);
    return jpeg;
  };
  const start = (text: string) => Buffer.from(text.padEnd(64, '\0'), 'latin1');
  test.each<[string, () => Promise<Buffer> | Buffer, RegExp]>([
    ['2,646 scans', () => manyScans(3000), /JPEG of 2647 scans, over 100/],
    [
      'fewer scans of more pixels',
      async () => {
        const jpeg = sized(await picture().jpeg({ progressive: true }).toBuffer(), 7000, 7000);
        const begin = jpeg.lastIndexOf(Buffer.from([0xff, 0xda]));
        const scan = jpeg.subarray(begin, -2);
        return Buffer.concat([jpeg.subarray(0, -2), ...Array(40).fill(scan), jpeg.subarray(-2)]);
      },
      /7000 x 7000 in 50 scans is too much work/,
    ],
    [
      'more pixels than the limit',
      async () => sized(await picture().jpeg().toBuffer(), 8000, 7000),
      /MAX_FRAME_PIXELS \(50000000\)/,
    ],
    [
      'a height left open',
      () => changed((jpeg, frame) => jpeg.writeUInt16BE(0, frame + 5)),
      /height is left open \(DNL\)/,
    ],
    ['12 bits', () => changed((jpeg, frame) => jpeg.writeUInt8(12, frame + 4)), /JPEG of 12 bits/],
    [
      'arithmetic coding',
      () => changed((jpeg, frame) => jpeg.writeUInt8(0xc9, frame + 1)),
      /arithmetic-coded JPEG/,
    ],
    ['lossless JPEG', () => changed((jpeg, frame) => jpeg.writeUInt8(0xc3, frame + 1)), /lossless JPEG/],
    [
      'a hierarchical JPEG',
      () => changed((jpeg, frame) => jpeg.writeUInt8(0xc5, frame + 1)),
      /hierarchical JPEG/,
    ],
    [
      'segments without end',
      () => Buffer.concat([Buffer.from([0xff, 0xd8]), Buffer.alloc(40_000, Buffer.from([0xff, 0xe1, 0, 2]))]),
      /over 2000 segments/,
    ],
    ['a PNG of one row of 40 million', () => png(40_000_000, 1), /side of over 65535/],
    ['a PNG of 2 billion pixels', () => png(65_535, 65_535), /MAX_FRAME_PIXELS/],
    ['an interlaced PNG of 16 bits', () => png(7_000, 7_000, 16, 1), /too much work/],
    ['an animated PNG', animatedPng, /animated PNG/],
    ['an animated WebP', () => animation().webp().toBuffer(), /animated WebP/],
    ['a GIF', () => picture().gif().toBuffer(), /is a GIF; only JPEG, PNG and WebP/],
    ['a TIFF', () => picture().tiff().toBuffer(), /is a TIFF/],
    ['an AVIF', () => picture().avif({ effort: 0 }).toBuffer(), /is a HEIF or AVIF/],
    ['an SVG', () => start('<svg xmlns="http://www.w3.org/2000/svg"/>'), /is an SVG/],
    ['an SVG after a declaration', () => start('\n<?xml version="1.0"?><svg/>'), /is an SVG/],
    ['a PDF', () => start('%PDF-1.7'), /is a PDF/],
    ['a BMP', () => start('BM'), /is a BMP/],
    ['a JPEG XL', () => start('\xff\x0a'), /is a JPEG XL/],
    ['text', () => start('no picture at all'), /not a JPEG, PNG or WebP/],
    ['nothing', () => Buffer.alloc(0), /is empty/],
  ])('%s', async (_, make, problem) => {
    const bytes = await make();
    const began = performance.now();
    expect(() => readPictureHeader(bytes, LIMITS)).toThrow(PictureError);
    expect(() => readPictureHeader(bytes, LIMITS)).toThrow(problem);
    // Decoding the first of them takes 12 seconds and more.
    expect(performance.now() - began).toBeLessThan(1_000);
  });
});

test('a picture truncated in its header is rejected with the reason, or passed to the decoder', async () => {
  for (const make of [picture().jpeg(), picture().png(), picture().webp()]) {
    const whole = await make.toBuffer();
    for (let length = 0; length < Math.min(700, whole.length); length++) {
      try {
        readPictureHeader(whole.subarray(0, length), LIMITS);
      } catch (error) {
        expect(error, `${length} bytes`).toBeInstanceOf(PictureError);
      }
    }
  }
});

/** A PNG's header, and data of nothing but zeros that is cut off. */
function png(width: number, height: number, depth = 8, interlace = 0): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([depth, 6, 0, 0, interlace], 8);
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([signature, chunk('IHDR', header), chunk('IDAT', deflateSync(Buffer.alloc(1e6)))]);
}

function chunk(type: string, data: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(data.length);
  return Buffer.concat([length, Buffer.from(type), data, Buffer.alloc(4)]);
}

async function animatedPng(): Promise<Buffer> {
  const whole = await picture().png().toBuffer();
  return Buffer.concat([whole.subarray(0, 33), chunk('acTL', Buffer.alloc(8)), whole.subarray(33)]);
}

/** Two pictures, one after the other. */
function animation() {
  const raw = Buffer.alloc(16 * 32 * 3, 90);
  raw.fill(10, 0, 16 * 16 * 3);
  return sharp(raw, { raw: { width: 16, height: 32, channels: 3, pageHeight: 16 } });
}

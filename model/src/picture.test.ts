import { createHash } from 'node:crypto';
import { PictureError, readPictureHeader } from '@video-pipeline/picture';
import fc from 'fast-check';
import sharp from 'sharp';
import { expect, test } from 'vitest';
import reference from '../../test/models/reference/resize.json' with { type: 'json' };
import { letterbox } from './letterbox.ts';
import { type DecodeOptions, decodePicture, frameBytes, layOut, pictureError } from './picture.ts';
import { resizeLinear } from './resize.ts';
import { resizeInWorker } from './resize-pool.ts';

const place = (width: number, height: number) =>
  letterbox(width, height, { kind: 'rectangle', longest: 64, stride: 32 });
const MAX_PIXELS = 50_000_000;
const RED = { r: 255, g: 0, b: 0 };
/** As the detector does it. */
async function decode(bytes: Buffer, resize: DecodeOptions['resize'] = 'opencv', maxPixels = MAX_PIXELS) {
  try {
    const header = readPictureHeader(bytes, { maxPixels, limit: 'MAX_FRAME_PIXELS' });
    return await decodePicture(bytes, header, { place, resize, scale: resizeLinear });
  } catch (error) {
    throw pictureError(error);
  }
}
const plain = (width: number, height: number) =>
  sharp({ create: { width, height, channels: 3, background: RED } });

/** Whether all pixels are about `colour`. */
function isAll(rgb: Uint8Array, colour: number[], tolerance = 12): boolean {
  return rgb.every((value, at) => Math.abs(value - (colour[at % 3] ?? 0)) < tolerance);
}

test.each([
  ['JPEG', () => plain(128, 72).jpeg()],
  ['progressive JPEG', () => plain(128, 72).jpeg({ progressive: true })],
  ['PNG', () => plain(128, 72).png()],
  ['PNG with transparency', () => plain(128, 72).ensureAlpha().png()],
  ['WebP', () => plain(128, 72).webp({ lossless: true })],
])('a red %s is decoded to red RGB of the input size', async (_name, make) => {
  const picture = await decode(await make().toBuffer());
  expect(picture).toMatchObject({ width: 128, height: 72, box: { width: 64, height: 36 } });
  expect(picture.rgb.length).toBe(64 * 36 * 3);
  expect(isAll(picture.rgb, [255, 0, 0])).toBe(true);
});

/** What OpenCV makes of a picture, one that is neither scaled nor lossy in RGB. */
const asItIs = async (bytes: Buffer) => {
  const header = readPictureHeader(bytes, { maxPixels: MAX_PIXELS });
  const at = (width: number, height: number) => letterbox(width, height, { kind: 'fixed', width, height });
  return [...(await decodePicture(bytes, header, { place: at, resize: 'opencv', scale: resizeLinear })).rgb];
};

test('a CMYK JPEG is converted as OpenCV does', async () => {
  const { jpeg, rgb } = reference.cmyk;
  expect(await asItIs(Buffer.from(jpeg, 'base64'))).toEqual([...Buffer.from(rgb, 'base64')]);
});

test('alpha is ignored, and 16 bits are reduced to the upper 8, as OpenCV does', async () => {
  const rgba = await sharp(Buffer.from([10, 200, 30, 0, 40, 50, 60, 128]), {
    raw: { width: 2, height: 1, channels: 4 },
  })
    .png()
    .toBuffer();
  expect(await asItIs(rgba)).toEqual([10, 200, 30, 40, 50, 60]);
  const grey = await sharp(Uint16Array.of(0x12ff, 0xab00), { raw: { width: 2, height: 1, channels: 1 } })
    .toColourspace('grey16')
    .png()
    .toBuffer();
  expect((await sharp(grey).metadata()).depth).toBe('ushort');
  expect(await asItIs(grey)).toEqual([0x12, 0x12, 0x12, 0xab, 0xab, 0xab]);
});

test('a grey JPEG is decoded to three channels', async () => {
  const grey = sharp({ create: { width: 64, height: 64, channels: 3, background: { r: 90, g: 90, b: 90 } } });
  const picture = await decode(await grey.toColourspace('b-w').jpeg().toBuffer());
  expect(isAll(picture.rgb, [90, 90, 90])).toBe(true);
});

test('a picture turned by EXIF is decoded upright', async () => {
  const blueBelow = { input: await plainBlue(128, 32), top: 32, left: 0 };
  const turned = await plain(128, 64)
    .composite([blueBelow])
    .jpeg()
    .withMetadata({ orientation: 6 })
    .toBuffer();
  const picture = await decode(turned);
  expect(picture).toMatchObject({ width: 64, height: 128, box: { width: 32, height: 64 } });
  // Turned clockwise by a quarter, what was below is left.
  const middle = (32 * 32 + 4) * 3;
  expect(picture.rgb[middle + 2]).toBeGreaterThan(200);
});

test.each([
  [1, 1],
  [7680, 4320],
  [1, 5000],
])('a picture of %i x %i is decoded', async (width, height) => {
  const picture = await decode(await plain(width, height).jpeg().toBuffer());
  expect(picture).toMatchObject({ width, height });
  expect(picture.rgb.length).toBe(picture.box.width * picture.box.height * 3);
});

const whole = await sharp(Buffer.from(Array.from({ length: 200 * 200 * 3 }, (_, at) => (at * 7919) & 255)), {
  raw: { width: 200, height: 200, channels: 3 },
})
  .jpeg()
  .toBuffer();

test.each([
  ['nothing', Buffer.alloc(0)],
  ['text', Buffer.from('no picture at all, just text')],
  ['half a JPEG', whole.subarray(0, whole.length / 2)],
  ['the header of a JPEG', whole.subarray(0, 300)],
  [
    'SVG',
    Buffer.from(
      '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>',
    ),
  ],
])('%s is rejected', async (_name, bytes) => {
  await expect(decode(bytes)).rejects.toThrow(/not a picture that can be decoded/);
});

test('a picture with too many pixels is rejected before it is decoded', async () => {
  const bomb = await plain(4000, 3000).png().toBuffer();
  await expect(decode(bomb, 'opencv', 10_000_000)).rejects.toThrow(/MAX_FRAME_PIXELS/);
});

test('a picture with any damage is decoded to its size, or rejected with PictureError', async () => {
  const good = await Promise.all([
    plain(128, 72).jpeg().toBuffer(),
    plain(128, 72).jpeg({ progressive: true }).toBuffer(),
    plain(128, 72).png().toBuffer(),
    plain(128, 72).webp().toBuffer(),
  ]);
  const change = fc.tuple(fc.nat(), fc.nat({ max: 255 }));
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...good),
      fc.array(change, { maxLength: 8 }),
      async (picture, changes) => {
        const damaged = Buffer.from(picture);
        for (const [at, byte] of changes) damaged[at % damaged.length] = byte;
        const decoded = await decode(damaged).catch((error) => {
          expect(error).toBeInstanceOf(PictureError);
        });
        if (decoded) expect(decoded.rgb.length).toBe(decoded.box.width * decoded.box.height * 3);
      },
    ),
  );
});

test.each(reference.scaled)("scaling equals OpenCV's to the bit: $size", ({ size, sha256 }) => {
  const [width = 0, height = 0, toWidth = 0, toHeight = 0] = size;
  const pixels = Uint8Array.from({ length: width * height * 3 }, (_, at) => (at * at * 31) & 255);
  const scaled = resizeLinear(pixels, { width, height }, toWidth, toHeight);
  expect(createHash('sha256').update(scaled).digest('hex')).toBe(sha256);
});

test('scaling on a thread gives the same pixels', async () => {
  const pixels = (step: number) => Uint8Array.from({ length: 100 * 90 * 3 }, (_, at) => (at * step) & 255);
  const here = [31, 57].map((step) => resizeLinear(pixels(step), { width: 100, height: 90 }, 64, 58));
  const there = [31, 57].map((step) => resizeInWorker(pixels(step), { width: 100, height: 90 }, 64, 58));
  expect(await Promise.all(there)).toEqual(here);
});

test.each([1, 2, 4])(
  '--resize fast: a JPEG of %i times twice the input is close to the mean of its pixels',
  async (times) => {
    const [width, height] = [128 * times, 72 * times];
    const raw = { width, height, channels: 3 } as const;
    const pixels = Buffer.from(
      Array.from({ length: width * height * 3 }, (_, at) => {
        const [x, y] = [Math.floor(at / 3) % width, Math.floor(at / 3 / width)];
        return 128 + 60 * Math.sin(x / (9 * times)) + 50 * Math.cos(y / (7 * times) + (at % 3));
      }),
    );
    const jpeg = await sharp(pixels, { raw }).jpeg({ quality: 95, chromaSubsampling: '4:4:4' }).toBuffer();
    const { box, rgb } = await decode(jpeg, 'fast');
    const expected = await sharp(pixels, { raw })
      .resize(box.width, box.height, { fit: 'fill' })
      .raw()
      .toBuffer();
    const sum = expected.reduce((total, value, at) => total + Math.abs(value - (rgb[at] ?? 999)), 0);
    expect(sum / expected.length).toBeLessThan(1.5);
  },
);

test('pictures are laid out one after another between grey bars, also in memory that was used before', async () => {
  const wide = await decode(await plain(128, 72).png().toBuffer());
  const frames = new Uint8Array(2 * frameBytes(wide.box)).fill(7);
  layOut([wide, wide], frames);
  const row = 64 * 3;
  for (const start of [0, frameBytes(wide.box)]) {
    expect(wide.box.top).toBe(14);
    expect(isAll(frames.subarray(start, start + 14 * row), [114, 114, 114])).toBe(true);
    expect(isAll(frames.subarray(start + 14 * row, start + 50 * row), [255, 0, 0])).toBe(true);
    expect(isAll(frames.subarray(start + 50 * row, start + 64 * row), [114, 114, 114])).toBe(true);
  }
});

test('a tall picture has bars on the left and right', async () => {
  const tall = await decode(await plain(72, 128).png().toBuffer());
  const frames = new Uint8Array(frameBytes(tall.box));
  layOut([tall], frames);
  expect(tall.box).toMatchObject({ inputWidth: 64, inputHeight: 64, left: 14 });
  for (let y = 0; y < 64; y++) {
    const row = frames.subarray(y * 64 * 3, (y + 1) * 64 * 3);
    expect(isAll(row.subarray(0, 14 * 3), [114, 114, 114])).toBe(true);
    expect(isAll(row.subarray(14 * 3, 50 * 3), [255, 0, 0])).toBe(true);
    expect(isAll(row.subarray(50 * 3), [114, 114, 114])).toBe(true);
  }
});

function plainBlue(width: number, height: number): Promise<Buffer> {
  return sharp({ create: { width, height, channels: 3, background: { r: 0, g: 0, b: 255 } } })
    .png()
    .toBuffer();
}

test('an internal error while scaling is not reported as an error of the picture', async () => {
  const bytes = await plain(128, 72).jpeg().toBuffer();
  const header = readPictureHeader(bytes, { maxPixels: MAX_PIXELS });
  const scale = () => Promise.reject(new RangeError('Array buffer allocation failed'));
  await expect(decodePicture(bytes, header, { place, resize: 'opencv', scale })).rejects.toThrow(RangeError);
});

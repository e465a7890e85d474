import { spawnSync } from 'node:child_process';
import sharp, { type Sharp } from 'sharp';
import { describe, expect, test } from 'vitest';
import { hasCommand } from '../../../test/support/has-command.ts';
import {
  decodeRaster,
  decodeRgb,
  decoderOf,
  encodeJpeg,
  giveBack,
  type Raster,
  takeMemory,
} from './codec.ts';
import { readPictureHeader } from './header.ts';
import { PictureError } from './picture-error.ts';

const [WIDTH, HEIGHT] = [321, 179];
/** Edges, gradients and a little noise, as in a camera's picture. */
const scene = Buffer.from(
  Array.from({ length: WIDTH * HEIGHT * 3 }, (_, at) => {
    const [x, y, channel] = [Math.floor(at / 3) % WIDTH, Math.floor(at / 3 / WIDTH), at % 3];
    const base =
      90 + 60 * Math.sin(x / 23 + channel) + 40 * Math.cos(y / 17) + ((x * 7919 + y * 104_729) % 7);
    return Math.max(0, Math.min(255, x > 200 && y > 90 ? 220 - 20 * channel : base));
  }),
);
const picture = () => sharp(scene, { raw: { width: WIDTH, height: HEIGHT, channels: 3 } });
const headerOf = (bytes: Buffer) => readPictureHeader(bytes, { maxPixels: 1e6 });
const decode = (bytes: Buffer) => decodeRgb(bytes, headerOf(bytes));

/** Mean difference of two pictures, in levels of 0..255. */
function difference(one: Buffer, other: Buffer): number {
  expect(one.length).toBe(other.length);
  return one.reduce((sum, value, at) => sum + Math.abs(value - (other[at] ?? 0)), 0) / one.length;
}

// Linux alone has libjpeg-turbo's library.
describe.skipIf(process.platform !== 'linux')(
  'libjpeg-turbo and libvips decode to the same pixels, within one level',
  () => {
    test.each<[string, Sharp]>([
      ['baseline', picture().jpeg({ quality: 85 })],
      ['progressive', picture().jpeg({ quality: 85, progressive: true })],
      ['4:4:4', picture().jpeg({ quality: 95, chromaSubsampling: '4:4:4' })],
      ['of low quality', picture().jpeg({ quality: 30 })],
      ['with optimised tables', picture().jpeg({ mozjpeg: true })],
    ])('a JPEG %s', async (_, image) => {
      const jpeg = await image.toBuffer();
      expect(decoderOf(headerOf(jpeg))).toBe('turbo');
      const ours = await decode(jpeg);
      expect(ours).toMatchObject({ width: WIDTH, height: HEIGHT });
      expect(difference(ours.data, await sharp(jpeg).raw().toBuffer())).toBeLessThan(0.1);
    });
  },
);

test.each<[string, Sharp, number, number]>([
  ['a PNG', picture().png(), WIDTH, HEIGHT],
  ['a WebP', picture().webp(), WIDTH, HEIGHT],
  ['a JPEG turned by EXIF', picture().jpeg().withMetadata({ orientation: 6 }), HEIGHT, WIDTH],
  ['a grey JPEG', picture().toColourspace('b-w').jpeg(), WIDTH, HEIGHT],
  ['a CMYK JPEG', picture().toColourspace('cmyk').jpeg(), WIDTH, HEIGHT],
  ['a JPEG with a colour profile', picture().jpeg().withIccProfile('p3'), WIDTH, HEIGHT],
])('%s is decoded by libvips to upright RGB', async (_, image, width, height) => {
  const bytes = await image.toBuffer();
  expect(decoderOf(headerOf(bytes))).toBe('vips');
  const { data, ...size } = await decode(bytes);
  expect(size).toEqual({ width, height });
  expect(data.length).toBe(width * height * 3);
});

test.each([2, 4] as const)(
  'a JPEG decoded at 1/%i of its size is close to the mean of its pixels',
  async (divisor) => {
    const jpeg = await picture().jpeg().toBuffer();
    const { data, width, height } = await decodeRgb(jpeg, headerOf(jpeg), { divisor });
    expect([width, height]).toEqual([Math.ceil(WIDTH / divisor), Math.ceil(HEIGHT / divisor)]);
    const mean = await picture().resize(width, height, { fit: 'fill', kernel: 'cubic' }).raw().toBuffer();
    expect(difference(data, mean)).toBeLessThan(3);
  },
);

test.skipIf(process.platform !== 'linux')(
  'a JPEG decoded to YUV and encoded again loses less colour than one decoded to RGB',
  async () => {
    const jpeg = await picture().jpeg().toBuffer();
    const { data: original } = await decode(jpeg);
    const lost = async (raster: Raster) =>
      difference((await decode(await encodeJpeg(raster, { quality: 100 }))).data, original);
    const raster = await decodeRaster(jpeg, headerOf(jpeg));
    expect(raster).toMatchObject({ form: 'yuv', width: WIDTH, height: HEIGHT });
    expect(await lost(raster)).toBeLessThan((await lost({ form: 'rgb', ...(await decode(jpeg)) })) / 2);
  },
);

test.each<[string, () => Promise<Buffer>]>([
  ['in 4:4:4', () => picture().jpeg({ chromaSubsampling: '4:4:4' }).toBuffer()],
  ['turned by EXIF', () => picture().jpeg().withMetadata({ orientation: 6 }).toBuffer()],
  ['whose components are red, green and blue', async () => asRgb(await picture().jpeg().toBuffer())],
])('a JPEG %s is decoded to RGB for re-encoding', async (_, make) => {
  const jpeg = await make();
  const { form, data } = await decodeRaster(jpeg, headerOf(jpeg));
  expect(form).toBe('rgb');
  expect(difference(data, await sharp(jpeg).autoOrient().raw().toBuffer())).toBeLessThan(0.1);
});

/** Without JFIF, libjpeg knows the colour space by the components' ids. */
function asRgb(jpeg: Buffer): Buffer {
  expect(jpeg.includes('JFIF')).toBe(false);
  const [frame, scan] = [0xc0, 0xda].map((marker) => jpeg.indexOf(Buffer.from([0xff, marker])));
  for (const [index, id] of [...'RGB'].entries()) {
    jpeg.write(id, (frame ?? 0) + 10 + 3 * index, 'latin1');
    jpeg.write(id, (scan ?? 0) + 5 + 2 * index, 'latin1');
  }
  return jpeg;
}

describe('a JPEG for which libjpeg warns is an error and not a grey picture', () => {
  test.each<[string, (jpeg: Buffer) => Buffer]>([
    ['half of the JPEG', (jpeg) => jpeg.subarray(0, jpeg.length / 2)],
    ['all but the last 20 bytes', (jpeg) => jpeg.subarray(0, -20)],
    ['all but the end marker', (jpeg) => jpeg.subarray(0, -2)],
    [
      'zeros in the middle',
      (jpeg) =>
        Buffer.concat([jpeg.subarray(0, jpeg.length / 2), Buffer.alloc(64), jpeg.subarray(jpeg.length / 2)]),
    ],
    [
      'a marker within the data',
      (jpeg) =>
        Buffer.concat([jpeg.subarray(0, jpeg.length / 2), Buffer.from([0xff, 0xd9]), jpeg.subarray(-200)]),
    ],
  ])('%s', async (_, damage) => {
    for (const options of [{}, { progressive: true }]) {
      const damaged = damage(await picture().jpeg(options).toBuffer());
      await expect(decode(damaged)).rejects.toThrow(PictureError);
      await expect(decodeRaster(damaged, headerOf(damaged))).rejects.toThrow(PictureError);
      await expect(decode(damaged)).rejects.toThrow(/cut off or corrupt|orrupt|premature/);
    }
  });
});

/** Decodes a picture that takes 108 MB, in a process that gets 60 MB more. */
const SHORT_OF_MEMORY = `
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import sharp from 'sharp';
import { decodeRaster } from './codec.ts';
import { readPictureHeader } from './header.ts';
const picture = await sharp({ create: { width: 6_000, height: 6_000, channels: 3, background: 'grey' } }).png().toBuffer();
const header = readPictureHeader(picture, { maxPixels: 50e6 });
const used = 1024 * Number(/VmSize:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]);
spawnSync('prlimit', ['--as=' + (used + 60e6) + ':', '--pid', String(process.pid)]);
await decodeRaster(picture, header).catch(({ name, message }) => console.log(name, message));`;

test.skipIf(!hasCommand('prlimit'))('out of memory is not reported as an error of the picture', () => {
  const args = ['--input-type=module', '-e', SHORT_OF_MEMORY];
  const { stdout } = spawnSync(process.execPath, args, { cwd: import.meta.dirname, encoding: 'utf8' });
  expect(stdout).toMatch(/^Error .*out of memory/);
});

test.skipIf(process.platform !== 'linux')(
  'memory of a released picture is reused, and memory of a picture in use is not',
  async () => {
    const [jpeg, other] = [await picture().jpeg().toBuffer(), await picture().negate().jpeg().toBuffer()];
    const first = await decode(jpeg);
    const kept = Buffer.from(first.data);
    const second = await decode(other);
    expect(second.data.buffer).not.toBe(first.data.buffer);
    expect(first.data.equals(kept)).toBe(true);
    giveBack(first.data);
    giveBack(first.data);
    const next = [await decode(other), await decode(other)];
    expect(next[0]?.data.buffer).toBe(first.data.buffer);
    expect(next[1]?.data.buffer).not.toBe(first.data.buffer);
    for (const { data } of next) expect(data.equals(second.data)).toBe(true);
    const { message } = await decode(jpeg.subarray(0, -20)).catch((error) => error);
    expect(message).toMatch(/cut off/);
  },
);

test('released memory is reused for a similar size, up to a limit, and foreign buffers are ignored', () => {
  giveBack(Buffer.alloc(1_000));
  const large = takeMemory(60_000_000);
  giveBack(large);
  expect(takeMemory(1_000).buffer.byteLength).toBe(1_000);
  const more = takeMemory(10_000_000);
  giveBack(more);
  // Both would exceed the limit. The older one was dropped.
  expect(takeMemory(60_000_000).buffer).not.toBe(large.buffer);
  expect(takeMemory(9_000_000).buffer).toBe(more.buffer);
});

test('encodeJpeg writes a 4:2:0 JPEG of the same size, without metadata, close to its input', async () => {
  const jpeg = await encodeJpeg({ form: 'rgb', data: scene, width: WIDTH, height: HEIGHT }, { quality: 85 });
  const info = await sharp(jpeg).metadata();
  expect(info).toMatchObject({ format: 'jpeg', width: WIDTH, height: HEIGHT, chromaSubsampling: '4:2:0' });
  expect([info.exif, info.icc, info.isProgressive]).toEqual([undefined, undefined, false]);
  expect(difference(scene, await sharp(jpeg).raw().toBuffer())).toBeLessThan(4);
  const byVips = await picture().jpeg({ quality: 85, optimiseCoding: false }).toBuffer();
  expect(jpeg.length / byVips.length).toBeGreaterThan(0.9);
  expect(jpeg.length / byVips.length).toBeLessThan(1.1);
});

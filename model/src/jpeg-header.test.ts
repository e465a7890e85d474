import sharp from 'sharp';
import { expect, test } from 'vitest';
import { plainJpegSize } from './jpeg-header.ts';

const picture = (channels: 3 | 4 = 3) =>
  sharp({ create: { width: 301, height: 178, channels, background: { r: 200, g: 90, b: 20, alpha: 0.5 } } });

test.each([
  ['baseline', picture().jpeg()],
  ['progressive', picture().jpeg({ progressive: true })],
  ['4:4:4', picture().jpeg({ chromaSubsampling: '4:4:4' })],
  ['optimised', picture().jpeg({ mozjpeg: true })],
])('reads the size of a %s JPEG', async (_, image) => {
  expect(plainJpegSize(await image.toBuffer())).toEqual({ width: 301, height: 178 });
});

test.each([
  ['turned by EXIF', picture().jpeg().withMetadata({ orientation: 6 })],
  ['with a colour profile', picture().jpeg().withIccProfile('p3')],
  ['in grey', picture().toColourspace('b-w').jpeg()],
  ['in CMYK', picture().toColourspace('cmyk').jpeg()],
  ['that is a PNG', picture(4).png()],
])('leaves a picture %s to libvips', async (_, image) => {
  expect(plainJpegSize(await image.toBuffer())).toBeUndefined();
});

test('is not led astray by what is cut off or broken', async () => {
  const jpeg = await picture().jpeg().toBuffer();
  const frame = jpeg.indexOf(Buffer.from([0xff, 0xc0]));
  for (let length = 0; length < frame + 10; length++) {
    expect(plainJpegSize(jpeg.subarray(0, length)), `${length} bytes`).toBeUndefined();
  }
  const endless = Buffer.from([0xff, 0xd8, 0xff, 0xfe, 0, 0, 0xff, 0xfe, 0, 0, 0, 0, 0, 0, 0, 0]);
  expect(plainJpegSize(endless)).toBeUndefined();
  const noHeight = Buffer.from(jpeg);
  noHeight.writeUInt16BE(0, frame + 5);
  expect(plainJpegSize(noHeight)).toBeUndefined();
});

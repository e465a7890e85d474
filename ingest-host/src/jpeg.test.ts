import {
  AV_CODEC_ID_MJPEG,
  AV_PIX_FMT_YUV420P,
  AV_PIX_FMT_YUVJ420P,
  AV_PIX_FMT_YUVJ422P,
  AVCOL_RANGE_JPEG,
  AVCOL_RANGE_MPEG,
  AVCOL_SPC_BT709,
  AVCOL_SPC_SMPTE170M,
  AVCOL_SPC_UNSPECIFIED,
  type AVColorSpace,
} from 'node-av/constants';
import { Codec, CodecContext, Frame, Packet, Rational } from 'node-av/lib';
import { afterEach, expect, test } from 'vitest';
import { JpegEncoder } from './jpeg.ts';

const encoders: JpegEncoder[] = [];
afterEach(() => {
  for (const encoder of encoders.splice(0)) encoder[Symbol.dispose]();
});

function createEncoder(maxBytes = 160_000, quality = 85): JpegEncoder {
  const encoder = new JpegEncoder(maxBytes, quality);
  encoders.push(encoder);
  return encoder;
}

/** A 4:2:0 picture in limited range, as H.264 cameras give it. */
function picture(
  width: number,
  height: number,
  space: AVColorSpace,
  luma: (x: number, y: number) => number,
  cb = 128,
  cr = 128,
) {
  const planes = Buffer.alloc((width * height * 3) / 2, cb);
  for (let at = 0; at < width * height; at += 1) planes[at] = luma(at % width, Math.floor(at / width));
  planes.fill(cr, (width * height * 5) / 4);
  const frame = Frame.fromVideoBuffer(planes, { width, height, format: AV_PIX_FMT_YUV420P });
  frame.colorRange = AVCOL_RANGE_MPEG;
  frame.colorSpace = space;
  return frame;
}

/** Decoded samples, `[Y, Cb, Cr]` of one pixel. */
function decode(jpeg: Buffer): { frame: Frame; at(x: number, y: number): number[] } {
  const decoder = new CodecContext();
  const codec = Codec.findDecoder(AV_CODEC_ID_MJPEG);
  decoder.allocContext3(codec);
  expect(decoder.open2Sync(codec)).toBe(0);
  const packet = new Packet();
  packet.alloc();
  packet.data = jpeg;
  const frame = new Frame();
  frame.alloc();
  expect(decoder.sendPacketSync(packet)).toBe(0);
  decoder.sendPacketSync(null);
  expect(decoder.receiveFrameSync(frame)).toBe(0);
  packet.free();
  decoder.freeContext();
  expect([frame.format, frame.colorRange]).toEqual([AV_PIX_FMT_YUVJ420P, AVCOL_RANGE_JPEG]);
  const { width, height } = frame;
  const planes = frame.toBuffer();
  const chroma = (x: number, y: number) => (y >> 1) * (width / 2) + (x >> 1);
  const at = (x: number, y: number) => [
    planes[y * width + x] ?? 0,
    planes[width * height + chroma(x, y)] ?? 0,
    planes[(width * height * 5) / 4 + chroma(x, y)] ?? 0,
  ];
  return { frame, at };
}

/** RGB of limited-range YCbCr, and full-range BT.601 YCbCr of that: ITU-R BT.709 and BT.601, JFIF (ITU-T T.871). */
function expected([y = 0, cb = 0, cr = 0]: number[], kr: number, kb: number): number[] {
  const kg = 1 - kr - kb;
  const luma = (y - 16) / 219;
  const [pb, pr] = [(cb - 128) / 224, (cr - 128) / 224];
  const [r, b] = [luma + 2 * (1 - kr) * pr, luma + 2 * (1 - kb) * pb];
  const g = (luma - kr * r - kb * b) / kg;
  const full = 0.299 * r + 0.587 * g + 0.114 * b;
  return [255 * full, 128 + (255 * (b - full)) / 1.772, 128 + (255 * (r - full)) / 1.402];
}

const BT709 = [0.2126, 0.0722] as const;
const BT601 = [0.299, 0.114] as const;

test.each([
  ['HD tagged BT.709', 1280, 720, AVCOL_SPC_BT709, BT709],
  ['HD untagged, read as BT.709', 1280, 720, AVCOL_SPC_UNSPECIFIED, BT709],
  ['SD untagged, read as BT.601', 320, 240, AVCOL_SPC_UNSPECIFIED, BT601],
  ['SD tagged BT.601', 320, 240, AVCOL_SPC_SMPTE170M, BT601],
  ['SD tagged BT.709', 320, 240, AVCOL_SPC_BT709, BT709],
] as const)('colours of %s are converted to JFIF', async (_name, width, height, space, [kr, kb]) => {
  const encoder = createEncoder();
  for (const colour of [
    [16, 128, 128],
    [235, 128, 128],
    [120, 90, 170],
    [90, 160, 110],
  ]) {
    const [y = 0, cb = 0, cr = 0] = colour;
    using frame = picture(width, height, space, () => y, cb, cr);
    const { jpeg } = await encoder.encode(frame);
    const decoded = decode(jpeg);
    using _frame = decoded.frame;
    const wanted = expected(colour, kr, kb);
    const off = decoded
      .at(width / 2, height / 2)
      .map((value, index) => Math.abs(value - (wanted[index] ?? 0)));
    expect(Math.max(...off)).toBeLessThanOrEqual(3);
  }
});

test('a full-range picture, as from MJPEG cameras, keeps its values', async () => {
  const planes = Buffer.alloc(320 * 240 * 2, 100);
  planes.fill(200, 0, 320 * 240);
  using frame = Frame.fromVideoBuffer(planes, { width: 320, height: 240, format: AV_PIX_FMT_YUVJ422P });
  const decoded = decode((await createEncoder().encode(frame)).jpeg);
  using _frame = decoded.frame;
  for (const [index, wanted] of [200, 100, 100].entries()) {
    expect(Math.abs((decoded.at(100, 100)[index] ?? 0) - wanted)).toBeLessThanOrEqual(2);
  }
});

test('a JPEG has the size and the pixels of its picture', async () => {
  using frame = picture(640, 480, AVCOL_SPC_SMPTE170M, (x, y) => 16 + ((x + y) % 220));
  const { jpeg, width, height } = await createEncoder().encode(frame);
  const decoded = decode(jpeg);
  using _frame = decoded.frame;
  expect([width, height, decoded.frame.width, decoded.frame.height]).toEqual([640, 480, 640, 480]);
  for (const [x, y] of [
    [10, 10],
    [100, 50],
    [333, 222],
  ] as const) {
    const full = (((x + y) % 220) * 255) / 219;
    expect(Math.abs((decoded.at(x, y)[0] ?? 0) - full)).toBeLessThan(12);
  }
});

/** Noise: the worst a JPEG can be asked for. */
const noise = (x: number, y: number) => 16 + ((((x * 7919 + y * 104_729) ** 2) >>> 3) % 220);

test('noise is kept within the budget by lower quality, then by a smaller size, and the header is right', async () => {
  using frame = picture(1280, 720, AVCOL_SPC_BT709, noise);
  const encoder = createEncoder(60_000);
  const { jpeg, width, height } = await encoder.encode(frame);
  const decoded = decode(jpeg);
  using _frame = decoded.frame;
  expect(jpeg.length).toBeLessThanOrEqual(60_000);
  expect(width).toBeLessThan(1280);
  expect([decoded.frame.width, decoded.frame.height]).toEqual([width, height]);
});

test('better quality means more bytes, and the setting follows the picture size', async () => {
  const sizes: number[] = [];
  for (const quality of [50, 75, 85, 95]) {
    using frame = picture(640, 480, AVCOL_SPC_SMPTE170M, noise);
    sizes.push((await createEncoder(5_000_000, quality).encode(frame)).jpeg.length);
  }
  expect(sizes).toEqual([...sizes].sort((one, other) => one - other));
  expect(new Set(sizes).size).toBe(4);
});

test('a stream that changes its resolution gets JPEGs of the new one', async () => {
  const encoder = createEncoder();
  for (const [width, height] of [
    [640, 480],
    [1280, 720],
    [320, 240],
  ] as const) {
    using frame = picture(width, height, AVCOL_SPC_UNSPECIFIED, (x) => 16 + (x % 200));
    expect(await encoder.encode(frame)).toMatchObject({ width, height });
  }
});

test.each([
  ['a region', { region: [0.5, 0, 1, 0.5] }, [320, 240]],
  ['maxWidth below the width', { maxWidth: 320 }, [320, 240]],
  ['a region with maxWidth', { region: [0.25, 0.25, 0.75, 0.75], maxWidth: 160 }, [160, 120]],
  ['maxWidth over the width', { maxWidth: 1920 }, [640, 480]],
  ['a region of odd pixels', { region: [0.001, 0, 0.3333, 1] }, [214, 480]],
  ['a tiny region in the corner', { region: [0.999, 0.999, 1, 1] }, [2, 2]],
] as const)('the JPEG has the expected part and size: %s', async (_name, shape, size) => {
  // Each quarter has a grey of its own: 40 100 over 160 220.
  const luma = (x: number, y: number) => 40 + (x < 320 ? 0 : 60) + (y < 240 ? 0 : 120);
  using frame = picture(640, 480, AVCOL_SPC_SMPTE170M, luma);
  const encoder = new JpegEncoder(160_000, 95, shape);
  encoders.push(encoder);
  const { jpeg, width, height } = await encoder.encode(frame);
  const decoded = decode(jpeg);
  using _frame = decoded.frame;
  expect([width, height, decoded.frame.width, decoded.frame.height]).toEqual([...size, ...size]);
  const [left, top, right, bottom] = 'region' in shape ? shape.region : [0, 0, 1, 1];
  for (const [x, y] of [
    [0, 0],
    [width - 1, height - 1],
  ] as const) {
    const at = [left + (x / width) * (right - left), top + (y / height) * (bottom - top)] as const;
    const full = ((luma(at[0] * 640, at[1] * 480) - 16) * 255) / 219;
    expect(Math.abs((decoded.at(x, y)[0] ?? 0) - full)).toBeLessThan(12);
  }
});

test.each([AV_PIX_FMT_YUV420P, AV_PIX_FMT_YUVJ420P])(
  'masked areas are black in each JPEG, and the source picture is unchanged (%i)',
  async (format) => {
    const planes = Buffer.alloc((160 * 120 * 3) / 2, 200);
    const source = Frame.fromVideoBuffer(planes, { width: 160, height: 120, format });
    if (format === AV_PIX_FMT_YUVJ420P) source.colorRange = AVCOL_RANGE_JPEG;
    source.colorSpace = AVCOL_SPC_SMPTE170M;
    const triangle = [
      [0.1, 0.1],
      [0.6, 0.2],
      [0.3, 0.9],
    ] as const;
    const thin = [
      [0.9, 0.5],
      [1, 0.5],
      [1, 0.501],
    ] as const;
    const encoder = new JpegEncoder(160_000, 95, { masks: [triangle, thin], maxWidth: 80 });
    encoders.push(encoder);
    const inside = (x: number, y: number) =>
      triangle.every(([x1, y1], index) => {
        const [x2, y2] = triangle[(index + 1) % 3] ?? [0, 0];
        return (x2 - x1) * (y - y1) - (y2 - y1) * (x - x1) >= 0;
      });
    for (let round = 0; round < 2; round += 1) {
      const { frame, at } = decode((await encoder.encode(source)).jpeg);
      let covered = 0;
      for (let y = 0; y < 60; y += 1) {
        for (let x = 0; x < 80; x += 1) {
          const [luma = 255] = at(x, y);
          if (inside((x + 0.5) / 80, (y + 0.5) / 60)) {
            covered += 1;
            expect(luma, `${x}, ${y}`).toBeLessThan(24);
          }
        }
      }
      expect(covered).toBeGreaterThan(500);
      expect(at(78, 30)[0]).toBeLessThan(24);
      expect(at(40, 5)[0]).toBeGreaterThan(150);
      expect(at(70, 50)[0]).toBeGreaterThan(150);
      frame.free();
    }
    // The frame holds no memory of its own.
    expect([...source.toBuffer(), ...planes].every((sample) => sample === 200)).toBe(true);
  },
);

test.each([
  [16, 9, 284],
  [1, 2, 80],
  [255, 1, 160],
  [1, 255, 160],
])('pixels of %i:%i are made square, unless the ratio is implausible: %i wide', async (num, den, wide) => {
  const encoder = new JpegEncoder(160_000, 85, { squarePixels: true });
  encoders.push(encoder);
  const source = picture(160, 120, AVCOL_SPC_BT709, () => 100);
  source.sampleAspectRatio = new Rational(num, den);
  expect(await encoder.encode(source)).toMatchObject({ width: wide, height: 120 });
});

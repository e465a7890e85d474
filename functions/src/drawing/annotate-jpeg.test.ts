import type { Detection } from '@video-pipeline/frame';
import sharp from 'sharp';
import { describe, expect, test } from 'vitest';
import { manyScans } from '../../../test/support/many-scans.ts';
import { annotateJpeg, drawable, PictureError } from './annotate-jpeg.ts';
import { type Colour, classColour, trackColour } from './colour.ts';

const GREY = { r: 120, g: 120, b: 120 };

function picture(width: number, height: number) {
  return sharp({ create: { width, height, channels: 3, background: GREY } });
}

async function frameOf(width: number, height: number) {
  return { jpeg: await picture(width, height).jpeg().toBuffer(), width, height };
}

const detection = (bbox: Detection['bbox'], class_id = 0, class_name = 'person'): Detection => ({
  class_id,
  class_name,
  confidence: 0.87,
  bbox,
});

/** Reads pixels of a JPEG. */
async function readPixels(jpeg: Buffer) {
  const { data, info } = await sharp(jpeg).raw().toBuffer({ resolveWithObject: true });
  const at = (x: number, y: number): Colour => {
    const index = (y * info.width + x) * info.channels;
    return [data[index] ?? -1, data[index + 1] ?? -1, data[index + 2] ?? -1];
  };
  return { at, ...info };
}

/** Largest difference of a part; JPEG with 4:2:0 moves the colours of thin lines by some. */
function distance(one: Colour, other: Colour): number {
  return Math.max(...one.map((part, index) => Math.abs(part - (other[index] ?? 0))));
}

describe('a box', () => {
  test("of a track has the colour of the track, and a longer label with the track's id", async () => {
    const frame = await frameOf(1280, 720);
    const tracked = { ...detection([200, 100, 600, 500]), track_id: 'mjx0f2a8-3' };
    const pixels = await readPixels(await annotateJpeg(frame, [tracked]));
    const plain = await readPixels(await annotateJpeg(frame, [detection([200, 100, 600, 500])]));
    const colour = trackColour(tracked.track_id);
    expect(distance(pixels.at(599, 300), colour)).toBeLessThan(60);
    expect(distance(classColour(0), colour)).toBeGreaterThan(100);
    const grey: Colour = [GREY.r, GREY.g, GREY.b];
    const labelEnd = ({ at }: typeof pixels) => {
      let x = 1279;
      while (distance(at(x, 90), grey) < 60) x--;
      return x;
    };
    expect(labelEnd(pixels)).toBeGreaterThan(labelEnd(plain) + 50);
  });

  test('is drawn on its edge in the colour of its class, and changes no other pixel', async () => {
    const frame = await frameOf(1280, 720);
    const pixels = await readPixels(await annotateJpeg(frame, [detection([200, 100, 600, 500])]));
    const colour = classColour(0);
    const grey: Colour = [GREY.r, GREY.g, GREY.b];
    for (const [x, y] of [
      [200, 300],
      [599, 300],
      [400, 499],
      [550, 100],
    ] as const) {
      expect(distance(pixels.at(x, y), colour), `edge at ${x},${y}`).toBeLessThan(60);
      expect(distance(pixels.at(x, y), grey), `edge at ${x},${y}`).toBeGreaterThan(80);
    }
    for (const [x, y] of [
      [180, 300],
      [220, 300],
      [580, 300],
      [620, 300],
      [400, 480],
      [400, 520],
      [5, 5],
    ] as const) {
      expect(distance(pixels.at(x, y), grey), `beside the edge at ${x},${y}`).toBeLessThan(12);
    }
  });

  test('partly outside of the picture is clipped, and one without area changes nothing', async () => {
    const frame = await frameOf(300, 200);
    const pixels = await readPixels(
      await annotateJpeg(frame, [detection([-50, -50, 320, 260]), detection([300, 200, 300, 200])]),
    );
    expect([pixels.width, pixels.height]).toEqual([300, 200]);
  });

  test('has a line width that grows with the picture: two pixels at 720 rows, seven at 2160', async () => {
    const width = async (frame: { jpeg: Buffer; width: number; height: number }) => {
      const box: Detection['bbox'] = [frame.width / 2, frame.height / 2, frame.width, frame.height];
      const pixels = await readPixels(await annotateJpeg(frame, [detection(box)]));
      const y = Math.round(frame.height * 0.8);
      const isLine = (x: number) => distance(pixels.at(x, y), classColour(0)) < 90;
      return Array.from({ length: 20 }, (_, index) => frame.width / 2 + index).filter(isLine).length;
    };
    // JPEG smears the line's colour over a pixel beside it.
    expect([2, 3]).toContain(await width(await frameOf(1280, 720)));
    expect([7, 8]).toContain(await width(await frameOf(3840, 2160)));
  });
});

describe('a mask', () => {
  const masked = (polygon: Detection['polygon']): Detection => ({
    ...detection([100, 100, 500, 500]),
    ...(polygon && { polygon }),
  });
  const triangle = masked([
    [100, 100],
    [500, 100],
    [100, 500],
  ]);

  test('has an outline in the colour of its class, no fill, and no box', async () => {
    const frame = await frameOf(1280, 720);
    const { at } = await readPixels(await annotateJpeg(frame, [triangle]));
    const grey: Colour = [GREY.r, GREY.g, GREY.b];
    expect(distance(at(300, 300), classColour(0))).toBeLessThan(90);
    expect(distance(at(100, 300), classColour(0))).toBeLessThan(90);
    const tinted = grey.map((part, index) => part * 0.65 + 0.35 * (classColour(0)[index] ?? 0)) as [
      number,
      number,
      number,
    ];
    expect(distance(at(200, 250), tinted)).toBeLessThan(12);
    expect(distance(at(499, 450), grey)).toBeLessThan(12);
    expect(distance(at(400, 499), grey)).toBeLessThan(12);
  });

  test('far outside of the picture is drawn, and one with 80,000 points is left out', async () => {
    const frame = await frameOf(300, 200);
    const far = masked([
      [-1e300, -1e300],
      [1e300, -5],
      [150, 1e300],
    ]);
    expect((await readPixels(await annotateJpeg(frame, [far]))).width).toBe(300);
    const zigzag = masked(Array.from({ length: 80_000 }, (_, index) => [index % 300, (index % 2) * 200]));
    expect(drawable(frame, [zigzag, triangle])).toEqual([]);
    expect(drawable(frame, [triangle])).toEqual([triangle]);
  });
});

describe('a label', () => {
  /** The part of the picture that differs from grey, outside of the box. */
  async function labelExtent(bbox: Detection['bbox'], name = 'person') {
    const frame = await frameOf(640, 480);
    const pixels = await readPixels(await annotateJpeg(frame, [detection(bbox, 0, name)]));
    let [left, top, right, bottom] = [640, 480, 0, 0];
    for (let y = 0; y < 480; y++) {
      for (let x = 0; x < 640; x++) {
        if (distance(pixels.at(x, y), [GREY.r, GREY.g, GREY.b]) < 60) continue;
        [left, top, right, bottom] = [
          Math.min(left, x),
          Math.min(top, y),
          Math.max(right, x),
          Math.max(bottom, y),
        ];
      }
    }
    return { left, top, right, bottom };
  }

  test('is drawn above the box when there is room', async () => {
    const { left, top } = await labelExtent([300, 200, 500, 300]);
    expect(Math.abs(left - 300)).toBeLessThanOrEqual(1);
    expect(top).toBeLessThan(190);
    expect(top).toBeGreaterThan(170);
  });

  test.each<[string, Detection['bbox']]>([
    ['left', [0, 0, 30, 20]],
    ['right', [630, 0, 640, 20]],
    ['bottom', [600, 470, 640, 480]],
  ])('is moved completely into the picture at its edge: %s', async (_where, bbox) => {
    const { left, right } = await labelExtent(bbox);
    expect(right - left).toBeGreaterThan(60);
  });

  test('has light and dark pixels, so that text is readable on the colour of each class', async () => {
    const frame = await frameOf(640, 480);
    for (let classId = 0; classId < 80; classId += 9) {
      const pixels = await readPixels(await annotateJpeg(frame, [detection([100, 100, 300, 300], classId)]));
      const row = Array.from({ length: 60 }, (_, x) => pixels.at(103 + x, 92));
      const sums = row.map((colour) => colour[0] + colour[1] + colour[2]);
      expect(Math.max(...sums) - Math.min(...sums), `class ${classId}`).toBeGreaterThan(200);
    }
  });

  test('with characters that the font lacks, or longer than the picture, is still drawn', async () => {
    expect((await labelExtent([10, 100, 60, 160], '人 человек')).right).toBeGreaterThan(60);
    expect((await labelExtent([10, 100, 60, 160], 'x'.repeat(500))).right).toBe(639);
  });
});

describe('a picture that is not a JPEG of the given size is rejected', () => {
  test.each<[string, () => Promise<Buffer>, RegExp]>([
    ['text', async () => Buffer.from('no picture at all'), /not a JPEG/],
    ['only the first bytes of a JPEG', async () => Buffer.from([0xff, 0xd8, 0xff]), /decoded/],
    ['half a JPEG', async () => (await frameOf(320, 240)).jpeg.subarray(0, 500), /decoded/],
    ['a PNG', () => picture(320, 240).png().toBuffer(), /not a JPEG/],
    ['an SVG', async () => Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"/>'), /not a JPEG/],
    ['a larger picture', () => picture(640, 480).jpeg().toBuffer(), /pixel limit/],
    [
      'a smaller picture',
      () => picture(160, 120).jpeg().toBuffer(),
      /160x120 pixels, its record says 320x240/,
    ],
    ['a picture turned by 90 degrees', () => picture(240, 320).jpeg().toBuffer(), /240x320/],
  ])('%s', async (_what, jpeg, problem) => {
    const refused = annotateJpeg({ jpeg: await jpeg(), width: 320, height: 240 }, []);
    await expect(refused).rejects.toThrow(PictureError);
    await expect(refused).rejects.toThrow(problem);
  });
});

test('a JPEG with 2,646 scans is rejected without decoding', async () => {
  const refused = annotateJpeg({ jpeg: await manyScans(3000), width: 3000, height: 3000 }, []);
  await expect(refused).rejects.toThrow(PictureError);
  await expect(refused).rejects.toThrow(/2647 scans, over 100/);
});

test('a picture too large for memory is rejected before it is decoded, when only its record has that size', async () => {
  const { jpeg } = await frameOf(320, 240);
  const refused = annotateJpeg({ jpeg, width: 20_000, height: 20_000 }, []);
  await expect(refused).rejects.toThrow(PictureError);
  await expect(refused).rejects.toThrow(/20000x20000/);
});

describe('boxes on other kinds of JPEG', () => {
  const box = detection([40, 60, 120, 110]);

  test.each<[string, () => Promise<Buffer>]>([
    ['grey', () => picture(160, 120).toColourspace('b-w').jpeg().toBuffer()],
    ['CMYK', () => picture(160, 120).toColourspace('cmyk').jpeg().toBuffer()],
    ['progressive', () => picture(160, 120).jpeg({ progressive: true }).toBuffer()],
    ['4:4:4', () => picture(160, 120).jpeg({ chromaSubsampling: '4:4:4' }).toBuffer()],
  ])('are drawn in colour on a JPEG that is %s', async (_kind, jpeg) => {
    const pixels = await readPixels(
      await annotateJpeg({ jpeg: await jpeg(), width: 160, height: 120 }, [box]),
    );
    expect(pixels.channels).toBe(3);
    expect(distance(pixels.at(40, 90), classColour(0))).toBeLessThan(80);
    expect(distance(pixels.at(80, 90), [GREY.r, GREY.g, GREY.b])).toBeLessThan(25);
  });

  test('turned by EXIF are drawn and stored upright, as the record and the boxes have it', async () => {
    const jpeg = await picture(120, 160).withMetadata({ orientation: 6 }).jpeg().toBuffer();
    const annotated = await annotateJpeg({ jpeg, width: 160, height: 120 }, [box]);
    expect((await sharp(annotated).metadata()).orientation).toBeUndefined();
    const pixels = await readPixels(annotated);
    expect([pixels.width, pixels.height]).toEqual([160, 120]);
    expect(distance(pixels.at(40, 90), classColour(0))).toBeLessThan(80);
    expect(distance(pixels.at(80, 90), [GREY.r, GREY.g, GREY.b])).toBeLessThan(25);
    const asStored = annotateJpeg({ jpeg, width: 120, height: 160 }, [box]);
    await expect(asStored).rejects.toThrow('is 160x120 pixels, its record says 120x160');
  });
});

describe('of very many detections', () => {
  const crowd = (count: number, class_name = 'person') =>
    Array.from({ length: count }, (_, index) => ({
      ...detection([0, 0, 1e9, 1e9], 0, class_name),
      confidence: index / count,
    }));

  test('the 300 with the highest confidence are drawn, and fewer if they need much work', () => {
    const drawn = drawable({ width: 1280, height: 720 }, crowd(4300));
    expect(drawn).toHaveLength(300);
    expect(drawn[0]?.confidence).toBeGreaterThan(0.999);
    expect(drawable({ width: 1280, height: 720 }, crowd(20))).toHaveLength(20);
    const large = drawable({ width: 7000, height: 7000 }, crowd(4300, 'W'.repeat(40)));
    expect(large.length).toBeGreaterThan(20);
    expect(large.length).toBeLessThan(300);
  });

  test('drawing takes at most seconds, and does not block the event loop', { timeout: 60_000 }, async () => {
    const frame = await frameOf(7000, 7000);
    const cpu = process.cpuUsage();
    let [longest, last] = [0, performance.now()];
    const beats = setInterval(() => {
      longest = Math.max(longest, performance.now() - last);
      last = performance.now();
    }, 5);
    await annotateJpeg(frame, crowd(4300, 'W'.repeat(500_000)));
    clearInterval(beats);
    const { user, system } = process.cpuUsage(cpu);
    expect((user + system) / 1e6).toBeLessThan(20);
    expect(longest).toBeLessThan(2_000);
  });
});

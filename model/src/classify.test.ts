import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { expect, test } from 'vitest';
import { writeConstantModel } from '../test/constant-model.ts';
import { resizeAndCrop } from './crop.ts';
import { loadDetector, optionsForTool } from './load-detector.ts';

test('a classification has a box of the whole frame, the best class first, and no class below the threshold', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'classify-'));
  try {
    const shares = Float32Array.of(0.05, 0.5, 0.1, 0.25, 0.02, 0.04, 0.04);
    const path = await writeConstantModel(join(folder, 'classes.onnx'), {
      outputs: [{ name: 'output0', values: shares, dims: [1, 7] }],
      metadata: { task: 'classify', names: "{0:'a',1:'b',2:'c',3:'d',4:'e',5:'f',6:'g'}" },
    });
    const picture = await sharp({ create: { width: 300, height: 200, channels: 3, background: '#789' } })
      .jpeg()
      .toBuffer();
    const detector = await loadDetector(path, optionsForTool(1e6));
    const { signal } = new AbortController();
    const ask = { pictures: [picture], client: 'test', signal };
    const [seen] = await detector.detect({ ...ask, threshold: 0.08 });
    const [all] = await detector.detect({ ...ask, threshold: 0 });
    await detector.close();
    const found = (class_id: number, class_name: string, confidence: number) => ({
      ...{ class_id, class_name, confidence, bbox: [0, 0, 300, 200] },
    });
    expect(seen).toEqual({
      width: 300,
      height: 200,
      detections: [found(1, 'b', 0.5), found(3, 'd', 0.25), found(2, 'c', 0.1)],
    });
    expect(all).toMatchObject({ detections: { length: 5 } });
  } finally {
    await rm(folder, { recursive: true });
  }
});

/** A slanted pattern with all values. */
const pattern = (width: number, height: number) =>
  Uint8Array.from({ length: width * height * 3 }, (_, at) => {
    const [pixel, channel] = [Math.floor(at / 3), at % 3];
    return (
      ((pixel % width) * 7 + Math.floor(pixel / width) * 13 + channel * 50 + ((pixel * pixel) % 31)) % 256
    );
  });

// Expected values: torchvision's Resize and CenterCrop of Pillow's picture.
test.each([
  [
    [3, 2],
    [4, 4],
    [
      2, 52, 102, 6, 56, 106, 11, 61, 111, 16, 66, 116, 8, 58, 108, 13, 63, 113, 18, 68, 118, 24, 74, 124, 20,
      70, 120, 26, 76, 126, 33, 83, 133, 40, 90, 140, 26, 76, 126, 33, 83, 133, 40, 90, 140, 48, 98, 148,
    ],
  ],
  [
    [13, 7],
    [3, 3],
    [
      44, 94, 144, 66, 116, 166, 84, 134, 184, 76, 126, 176, 91, 141, 191, 110, 160, 210, 105, 155, 205, 122,
      172, 222, 141, 191, 221,
    ],
  ],
  [
    [7, 4],
    [4, 2],
    [
      19, 69, 119, 32, 82, 132, 54, 104, 154, 64, 114, 164, 44, 94, 144, 54, 104, 154, 72, 122, 172, 89, 139,
      189,
    ],
  ],
] as [[number, number], [number, number], number[]][])(
  'a picture of %j, resized and cropped to %j, has the pixels that torchvision gives',
  ([width, height], to, expected) => {
    const cropped = resizeAndCrop(pattern(width, height), { width, height }, { width: to[0], height: to[1] });
    expect([...cropped]).toEqual(expected);
  },
);

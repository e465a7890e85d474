import { encodeJpeg } from '@video-pipeline/picture/codec';
import { expect, test } from 'vitest';
import { appearancesOf } from './appearances.ts';

const [width, height] = [1280, 720];
const detection = (x: number) => ({
  class_id: 0,
  class_name: 'person',
  confidence: 0.9,
  bbox: [x, 100, x + 100, 400] as [number, number, number, number],
});
const facts = { streamId: 's', frameNumber: 0, session: 's', capturedAt: 0, width, height, model: 'm' };

test('colours of a detection are read from a JPEG that is decoded at a fraction of its size', async () => {
  const data = Buffer.alloc(width * height * 3, 120);
  for (let row = 100; row < 400; row++) {
    for (let x = 200; x < 300; x++) data.set([200, 20, 20], (row * width + x) * 3);
    for (let x = 600; x < 700; x++) data.set([20, 20, 200], (row * width + x) * 3);
  }
  const jpeg = await encodeJpeg({ form: 'rgb', data, width, height }, { quality: 85 });
  const detections = [detection(200), detection(600)];
  const appearances = await appearancesOf({ ...facts, jpeg, detections });
  const [red = [], blue = []] = detections.map((one) => appearances.get(one));
  expect(red.indexOf(Math.max(...red))).toBe(0); // the first hue
  expect(blue.indexOf(Math.max(...blue))).toBe(8); // two thirds of twelve hues on
});

test('a picture that can not be decoded gives no colours and no error', async () => {
  const jpeg = Buffer.from('no JPEG');
  expect((await appearancesOf({ ...facts, jpeg, detections: [detection(0)] })).size).toBe(0);
});

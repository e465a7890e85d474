import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { writeConstantModel } from '../test/constant-model.ts';
import { inspect, report } from './inspect.ts';
import { decodeModel, encodeModel } from './onnx/schema.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'inspect-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** YOLOv8's outputs for 160 x 160: one object of 80 x 40 in the middle. */
const values = new Float32Array(84 * 525);
for (const [row, value] of [80, 80, 80, 40, 0.9].entries()) values[row * 525] = value;
const yolov8 = { name: 'output0', values, dims: [1, 84, 525] };
const metadata = { names: JSON.stringify(Array.from({ length: 80 }, (_, id) => `c${id}`)) };
const options = { confidence: 0.5, maxPixels: 1e6 };

test('inspect of a supported model gives its evidence, and a picture with its detections', async () => {
  const path = await writeConstantModel(join(folder, 'yard.onnx'), { outputs: [yolov8], metadata });
  const output = join(folder, 'drawn.jpg');
  const picture = join(folder, 'grey.png');
  await sharp({ create: { width: 320, height: 320, channels: 3, background: '#808080' } }).toFile(picture);
  const found = await inspect(path, { ...options, picture, output });
  expect(found).toMatchObject({
    head: 'yolov8',
    inputs: ['images [1, 3, 160, 160]'],
    verdicts: [{ head: 'yolov8' }],
    detections: [{ class_id: 0, confidence: 0.9, bbox: [80, 120, 240, 200] }],
    drawn: output,
  });
  expect(report(found)).toMatch(/verdict +served as yolov8 .*\nseen +1 objects/);
  const { data, info } = await sharp(output).raw().toBuffer({ resolveWithObject: true });
  const redAt = (x: number, y: number) => data[(y * info.width + x) * 3] ?? 0;
  expect(redAt(80, 160)).toBeGreaterThan(200);
  expect(redAt(160, 160)).toBeLessThan(150);
});

test('inspect of an unsupported model gives the reason of each family, and a remedy', async () => {
  const wide = { ...yolov8, values: values.map((value) => value * 300) };
  const path = await writeConstantModel(join(folder, 'wide.onnx'), { outputs: [wide], metadata });
  const found = await inspect(path, options);
  expect(found.head).toBeUndefined();
  expect(report(found)).toMatch(
    /as yolov8 +its confidences go from 0 to 270, not.*\nverdict +refused: .*--head/s,
  );
});

test('inspect with a named family does not read this family a second time', async () => {
  const path = await writeConstantModel(join(folder, 'named.onnx'), { outputs: [yolov8], metadata });
  const { verdicts } = await inspect(path, { ...options, head: 'yolov5' });
  expect(verdicts).toEqual([{ head: 'yolov8' }]);
});

test('inspect of a model that the runtime rejects still gives its metadata', async () => {
  const path = await writeConstantModel(join(folder, 'strange.onnx'), { outputs: [yolov8], metadata });
  const model = decodeModel(await readFile(path));
  for (const node of model.graph.node) node.opType = 'OfAnotherRuntime';
  await writeFile(path, encodeModel(model));
  const text = report(await inspect(path, options));
  expect(text).toMatch(
    /metadata +names 80 classes\n.*inputs +images \[1, 3, 160, 160\]\n.*refused: .*No Op registered/s,
  );
});

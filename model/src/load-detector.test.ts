import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { manyScans } from '../../test/support/many-scans.ts';
import { type ColourModelOptions, writeColourModel } from '../test/colour-model.ts';
import { writeConstantModel } from '../test/constant-model.ts';
import type { PictureResult } from './detector.ts';
import { type LoadOptions, loadDetector } from './load-detector.ts';
import { GraphBuilder } from './onnx/graph-builder.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'model-'));
});
afterAll(() => rm(folder, { recursive: true }));

const options: LoadOptions = {
  device: 'cpu',
  threads: 1,
  precision: 'f32',
  select: 'auto',
  candidates: 1000,
  classAgnostic: false,
  maxDetections: 300,
  detector: {
    maxQueue: 100,
    maxPixels: 1e6,
    resize: 'fast',
    observe() {},
    observeBatch() {},
    observeCut() {},
    onWarmUpError() {},
  },
};
const [red, green] = await Promise.all(
  ['#ff0000', '#00ff00'].map((background) =>
    sharp({ create: { width: 64, height: 64, channels: 3, background } })
      .png()
      .toBuffer(),
  ),
);
const pictures = [red, green, red, green, red].map((picture) => picture ?? Buffer.alloc(0));

async function detect(
  model: ColourModelOptions,
  more: Partial<LoadOptions> = {},
  shown = pictures,
): Promise<PictureResult[]> {
  const path = await writeColourModel(join(folder, 'colours.onnx'), model);
  const detector = await loadDetector(path, { ...options, ...more });
  try {
    const { signal } = new AbortController();
    return await detector.detect({ pictures: shown, threshold: 0.5, client: 'test', signal });
  } finally {
    await detector.close();
  }
}

/** The toy's box, 8 x 6 about (16, 16) of 32 x 32, in the picture of 64 x 64. */
const seen = (class_name: string, class_id: number) => ({
  width: 64,
  height: 64,
  detections: [{ class_id, class_name, confidence: 1, bbox: [24, 26, 40, 38] }],
});
const colours = [seen('red', 0), seen('green', 1), seen('red', 0), seen('green', 1), seen('red', 0)];

test.each([
  ['any batch and size', {}, {}],
  ['any batch and size, batches of four', {}, { batchSizes: [4] }],
  ['a fixed size', { shape: ['batch', 3, 32, 32] }, { batchSizes: [4] }],
  ['a fixed batch of one', { shape: [1, 3, 32, 32] }, { batchSizes: [4] }],
  ['a fixed batch of three, the last one not full', { shape: [3, 3, 32, 32] }, { batchSizes: [2, 8] }],
  ['half precision', { type: 'float16' }, { batchSizes: [2] }],
  ['a batch size that the graph loses, batches of four', { losesBatch: true }, { batchSizes: [4] }],
  ['its candidates chosen in the graph', {}, { batchSizes: [4], select: 'graph' }],
  ['half precision, its candidates chosen in the graph', { type: 'float16' }, { select: 'graph' }],
  ['a fixed batch of three, chosen in the graph', { shape: [3, 3, 32, 32] }, { select: 'graph' }],
  ['int8 weights and pixels', { isQuantized: true }, { batchSizes: [2] }],
  ['int8 weights, chosen in the graph', { isQuantized: true }, { batchSizes: [4], select: 'graph' }],
  ['bytes for pixels, chosen in the graph', { takes: 'pixels' }, { batchSizes: [4], select: 'graph' }],
  ['frames of bytes, as if quantised here', { takes: 'frames' }, { batchSizes: [2] }],
  ['frames of bytes, chosen in the graph', { takes: 'frames' }, { batchSizes: [4], select: 'graph' }],
] as const)('a model with %s detects the colours of a request, in order', async (_name, model, more) => {
  expect(await detect(model, more)).toEqual(colours);
});

test('pictures that would take minutes are rejected, and a small picture of another client is served at once', async () => {
  const path = await writeColourModel(join(folder, 'colours.onnx'), {});
  const maxPixels = 50e6;
  const detector = await loadDetector(path, { ...options, detector: { ...options.detector, maxPixels } });
  const costly = await manyScans(3000);
  const { signal } = new AbortController();
  const began = process.cpuUsage();
  const hostile = detector.detect({ pictures: Array(8).fill(costly), threshold: 0.5, client: 'a', signal });
  const good = await detector.detect({
    pictures: [pictures[0] as Buffer],
    threshold: 0.5,
    client: 'b',
    signal,
  });
  // One of them takes 9 seconds.
  const { user, system } = process.cpuUsage(began);
  expect((user + system) / 1e6).toBeLessThan(3);
  expect(good).toEqual([seen('red', 0)]);
  for (const result of await hostile)
    expect(result).toEqual({
      error: expect.stringMatching(/not a picture that can be decoded: .*2647 scans/),
    });
  await detector.close();
});

test('pictures of a disconnected client are removed from the queue', async () => {
  const path = await writeColourModel(join(folder, 'colours.onnx'), {});
  const detector = await loadDetector(path, options);
  const gone = new AbortController();
  const request = detector.detect({
    ...{ pictures: Array(80).fill(pictures[0]), threshold: 0.5, client: 'a' },
    signal: gone.signal,
  });
  expect(detector.queued).toBeGreaterThan(50);
  gone.abort(new Error('gone'));
  await expect(request).rejects.toThrow('gone');
  expect(detector.queued).toBe(0);
  await detector.close();
});

test("a class with its own threshold uses it in place of the request's threshold", async () => {
  const classThresholds = new Map([['green', 1.1]]);
  const results = await detect({}, { classThresholds });
  const counts = results.map((result) => ('detections' in result ? result.detections.length : -1));
  expect(counts).toEqual([1, 0, 1, 0, 1]);
});

test("a class's own threshold may be lower than that of the request", async () => {
  const dark = await sharp({ create: { width: 64, height: 64, channels: 3, background: '#660000' } })
    .png()
    .toBuffer();
  const count = async (classThresholds: Map<string, number>) => {
    const [result] = await detect({}, { classThresholds }, [dark]);
    return result && 'detections' in result ? result.detections.length : -1;
  };
  expect(await count(new Map())).toBe(0);
  expect(await count(new Map([['red', 0.3]]))).toBe(1);
  expect(await count(new Map([['green', 0.3]]))).toBe(0);
});

test.each([
  ['does not count for maxDetections', { maxDetections: 1 }],
  ['does not suppress another object', { classAgnostic: true }],
])('a box below the threshold of its class %s', async (_what, more) => {
  // Boxes cx, cy, w, h, then the scores of two classes: of the same place, or nearly.
  const values = Float32Array.of(80, 82, 80, 80, 40, 40, 40, 40, 0.9, 0, 0, 0.6);
  const path = await writeConstantModel(join(folder, 'two.onnx'), {
    outputs: [{ name: 'output0', values, dims: [1, 6, 2] }],
    metadata: { task: 'detect', names: "{0: 'car', 1: 'person'}" },
  });
  const classThresholds = new Map([['car', 0.95]]);
  const detector = await loadDetector(path, { ...options, ...more, head: 'yolov8', classThresholds });
  const { signal } = new AbortController();
  const [result] = await detector.detect({
    pictures: pictures.slice(0, 1),
    threshold: 0.5,
    client: 'test',
    signal,
  });
  await detector.close();
  expect(result).toMatchObject({ detections: [{ class_name: 'person', confidence: 0.6 }] });
});

test('a threshold for an unknown class is rejected with the nearest class name', async () => {
  const classThresholds = new Map([['Gren', 0.4]]);
  await expect(detect({}, { classThresholds })).rejects.toThrow(
    "colours.onnx: it has no class 'Gren' for a threshold; the nearest is 'green'",
  );
  const onUnknownClass = vi.fn();
  await detect({}, { classThresholds, onUnknownClass });
  expect(onUnknownClass).toHaveBeenCalledOnce();
});

test('class names are read from a file when the model has none', async () => {
  const names = join(folder, 'names.txt');
  await writeFile(names, 'rouge\nvert\nbleu\n');
  const [first] = await detect({ names: '{}' }, { names, head: 'yolov8' });
  expect(first).toMatchObject({ detections: [{ class_name: 'rouge' }] });
  await writeFile(names, '\ufeffrouge\r\n\r\n bleu\r\n\r\n');
  const results = await detect({ names: '{}' }, { names, head: 'yolov8' });
  expect(results.slice(0, 2)).toEqual([seen('rouge', 0), seen('class 1', 1)]);
});

test('a file that is not a model is rejected with its name', async () => {
  const path = join(folder, 'text.onnx');
  await writeFile(path, 'this is not a model');
  await expect(loadDetector(path, options)).rejects.toThrow(`${path} is not an ONNX file`);
  await expect(loadDetector(join(folder, 'absent.onnx'), options)).rejects.toThrow(
    /can't read model .*absent/,
  );
});

test('a model of an unknown family is rejected with its inputs, outputs and the supported families', async () => {
  const g = new GraphBuilder();
  const input = g.input('pixels', 'float32', ['batch', 3, 224, 224]);
  g.output('classes', g.node('GlobalAveragePool', [input]), ['batch', 3, 1, 1]);
  const path = join(folder, 'classifier.onnx');
  await writeFile(path, g.encode('classifier', {}));
  await expect(loadDetector(path, options)).rejects.toThrow(
    /pixels \[batch, 3, 224, 224\].*classes \[batch, 3, 1, 1\].*yolov8, yolov5.*--head/,
  );
});

test('precision int8 is rejected for a model without int8, with the command that makes it', async () => {
  const path = await writeColourModel(join(folder, 'colours.onnx'));
  await expect(loadDetector(path, { ...options, precision: 'int8' })).rejects.toThrow(
    `npm run model -- quantise ${path}`,
  );
  await writeColourModel(path, { isQuantized: true });
  const detector = await loadDetector(path, options);
  expect(detector.precision).toBe('int8');
  await detector.close();
});

test('device cuda without CUDA is an error', async () => {
  const path = await writeColourModel(join(folder, 'colours.onnx'));
  await expect(loadDetector(path, { ...options, device: 'cuda' })).rejects.toThrow(
    'device cuda is not available',
  );
});

import { mkdir, mkdtemp, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { writeColourModel } from '../test/colour-model.ts';
import { loadDetector } from './load-detector.ts';
import { ModelSet } from './model-set.ts';
import { DataType, decodeModel, encodeModel } from './onnx/schema.ts';

let folder: string;
let set: ModelSet | undefined;
const errors: string[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'models-'));
  errors.length = 0;
});
afterEach(async () => {
  await set?.close();
  await rm(folder, { recursive: true });
});

const open = async () => {
  set = await ModelSet.open(folder, {
    load: (path, onWeights) =>
      loadDetector(path, {
        onWeights,
        device: 'cpu',
        threads: 1,
        precision: 'f32',
        select: 'auto',
        candidates: 1000,
        classAgnostic: false,
        maxDetections: 300,
        detector: {
          ...{ maxQueue: 1000, maxPixels: 1e6, resize: 'fast' },
          observe() {},
          observeBatch() {},
          observeCut() {},
          onWarmUpError() {},
        },
      }),
    log: { info: () => {}, error: (message) => void errors.push(String(message)) },
  });
  return set;
};
const red = await sharp({ create: { width: 32, height: 32, channels: 3, background: '#ff0000' } })
  .png()
  .toBuffer();

function look(models: ModelSet, name: string) {
  const { signal } = new AbortController();
  return models.detectors.get(name)?.detect({ pictures: [red], threshold: 0.5, client: 'test', signal });
}

/** Replaces a model as one should: whole, by a rename. */
async function replace(name: string, names: string): Promise<void> {
  await writeColourModel(join(folder, 'new'), { names });
  await rename(join(folder, 'new'), join(folder, name));
}

test('all models of a folder are served, each with its name', async () => {
  await writeColourModel(join(folder, 'b.onnx'));
  await writeColourModel(join(folder, 'a.onnx'));
  const models = await open();
  expect([...models.detectors.keys()]).toEqual(['a', 'b']);
  expect(await look(models, 'b')).toMatchObject([{ detections: [{ class_name: 'red' }] }]);
});

test('a changed model replaces the old one without a failed request', async () => {
  await writeColourModel(join(folder, 'a.onnx'));
  const models = await open();
  models.watch(10);
  const seen = new Set<string>();
  await replace('a.onnx', "{0: 'crimson', 1: 'green', 2: 'blue'}");
  const client = async () => {
    while (!seen.has('crimson')) {
      const [result] = (await look(models, 'a')) ?? [];
      const [detection] = result && 'detections' in result ? result.detections : [];
      seen.add(detection?.class_name ?? 'nothing');
    }
  };
  // More at once than the threads take, so that some wait when the model is swapped.
  await Promise.all(Array.from({ length: 16 }, client));
  expect([...seen]).toEqual(['red', 'crimson']);
  expect(errors).toEqual([]);
});

test('a new model is served, a deleted one is removed, and a broken one is reported once', async () => {
  await writeColourModel(join(folder, 'a.onnx'));
  const models = await open();
  await writeColourModel(join(folder, 'b.onnx'));
  await writeFile(join(folder, 'broken.onnx'), 'not a model');
  await models.rescan();
  await models.rescan();
  expect([...models.detectors.keys()]).toEqual(['a', 'b']);
  expect(errors).toEqual([`can't load ${join(folder, 'broken.onnx')}`]);

  await rm(join(folder, 'a.onnx'));
  await models.rescan();
  expect([...models.detectors.keys()]).toEqual(['b']);
});

test('a broken link and a folder named like a model do not affect other models', async () => {
  await writeColourModel(join(folder, 'b.onnx'));
  await symlink(join(folder, 'nowhere'), join(folder, 'a.onnx'));
  await mkdir(join(folder, 'c.onnx'));
  const models = await open();
  expect([...models.detectors.keys()]).toEqual(['b']);
  expect(errors).toEqual(['a', 'c'].map((name) => `can't load ${join(folder, name)}.onnx`));
});

test('a folder that disappears for a while is watched again after its return', async () => {
  await writeColourModel(join(folder, 'a.onnx'));
  const models = await open();
  models.watch(5);
  await rename(folder, `${folder}-away`);
  await expect.poll(() => errors).toContain('model folder');
  expect(models.detectors.size).toBe(1);
  await rename(`${folder}-away`, folder);
  await replace('b.onnx', "{0: 'crimson', 1: 'green', 2: 'blue'}");
  await expect.poll(() => models.detectors.has('b')).toBe(true);
});

test('a changed card is read again', async () => {
  await writeColourModel(join(folder, 'a.onnx'));
  const models = await open();
  await writeFile(join(folder, 'a.yaml'), 'names: [rot, gruen, blau]\n');
  await models.rescan();
  expect(await look(models, 'a')).toMatchObject([{ detections: [{ class_name: 'rot' }] }]);
});

/** Moves the weights of a model into another file of the folder, which its file names. */
async function moveWeights(path: string, location: string): Promise<Buffer> {
  const model = decodeModel(await readFile(path));
  const parts: Uint8Array[] = [];
  let offset = 0;
  for (const tensor of model.graph.initializer) {
    // The box.
    if (tensor.dataType !== DataType.float32 || tensor.rawData.length !== 16) continue;
    const facts = { location, offset, length: tensor.rawData.length };
    parts.push(tensor.rawData);
    offset += tensor.rawData.length;
    const externalData = Object.entries(facts).map(([key, value]) => ({ key, value: String(value) }));
    Object.assign(tensor, { rawData: new Uint8Array(), dataLocation: 1, externalData });
  }
  await writeFile(path, encodeModel(model));
  return Buffer.concat(parts);
}

test('a model is reloaded when its external weights change or appear, whatever their file name', async () => {
  const weights = await moveWeights(await writeColourModel(join(folder, 'a.onnx')), 'weights.bin');
  expect(weights).toHaveLength(16);
  await writeColourModel(join(folder, 'b.onnx'));
  const models = await open();
  expect([...models.detectors.keys()]).toEqual(['b']);
  await writeFile(join(folder, 'weights.bin'), weights);
  await models.rescan();
  expect(await look(models, 'a')).toMatchObject([{ detections: [{ bbox: [12, 13, 20, 19] }] }]);

  // The centre of the box, four pixels to the right.
  weights.writeFloatLE(20, 0);
  await writeFile(join(folder, 'weights.bin'), weights);
  const before = models.detectors.get('b');
  await models.rescan();
  expect(await look(models, 'a')).toMatchObject([{ detections: [{ bbox: [16, 13, 24, 19] }] }]);
  expect(models.detectors.get('b')).toBe(before);
  expect(errors).toHaveLength(1);
});

test('a folder without a model is an error', async () => {
  await expect(open()).rejects.toThrow('holds no model');
});

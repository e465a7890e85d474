import { mkdir, mkdtemp, open, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest';
import { writeConstantModel } from '../../test/constant-model.ts';
import { cpuShape } from '../inference-pool.ts';
import { readModelFile } from '../model-file.ts';
import { decodeModel, encodeModel } from './schema.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'stored-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** YOLOv8's outputs of 160 x 160, one object. */
const values = new Float32Array(84 * 525);
for (const [row, value] of [60, 60, 50, 50, 0.9].entries()) values[row * 525] = value;
const names = JSON.stringify(Array.from({ length: 80 }, (_, id) => `c${id}`));
const yolov8 = { outputs: [{ name: 'output0', values, dims: [1, 84, 525] }], metadata: { names } };

test('changes of the file do not affect a loaded model, and no temporary file remains after close', async () => {
  const path = await writeConstantModel(join(folder, 'overwritten.onnx'), yolov8);
  const { onnx, weights, pool, close } = await readModelFile(path);
  const stored = dirname(onnx);
  // The graph is small: the weights lie apart.
  expect((await readFile(onnx)).length).toBeLessThan(values.byteLength / 2);
  expect(weights).toBeGreaterThanOrEqual(values.byteLength);
  await truncate(path, 10);
  await close();
  await expect(readdir(stored)).rejects.toThrow('ENOENT');
  const [output] = await pool.ask(new Uint8Array(160 * 160 * 3), [1, 160, 160, 3]);
  expect(output?.data).toEqual(values);
  await pool.close();
});

test('weights are written completely when the disk writes only a part at a time', async () => {
  const path = await writeConstantModel(join(folder, 'in-parts.onnx'), yolov8);
  await using any = await open(path);
  const proto = Object.getPrototypeOf(any);
  const { write } = proto;
  const inPart = vi.spyOn(proto, 'write').mockImplementation(function (this: unknown, ...args: unknown[]) {
    const [bytes, offset, length, position] = args as [Buffer, number, number, number];
    return write.call(this, bytes, offset, length >> 1, position);
  });
  onTestFinished(() => inPart.mockRestore());
  const { pool, close } = await readModelFile(path);
  await close();
  const [output] = await pool.ask(new Uint8Array(160 * 160 * 3), [1, 160, 160, 3]);
  expect(output?.data).toEqual(values);
  await pool.close();
});

test('threads share one session when the weights are large', () => {
  expect(cpuShape(20e6, 4)).toEqual({ size: 4, threads: 1 });
  expect(cpuShape(130e6, 4)).toEqual({ size: 1, threads: 4 });
});

/** Writes the model with its large weights in `location`. */
async function writeOutside(location: string, length?: number): Promise<string> {
  const path = await writeConstantModel(join(folder, 'outside.onnx'), yolov8);
  const model = decodeModel(await readFile(path));
  for (const tensor of model.graph.initializer.filter(({ rawData }) => rawData.length > 100_000)) {
    const facts = { location, offset: '0', length: String(length ?? tensor.rawData.length) };
    const externalData = Object.entries(facts).map(([key, value]) => ({ key, value }));
    const bytes = Buffer.from(tensor.rawData);
    Object.assign(tensor, { rawData: new Uint8Array(), dataLocation: 1, externalData });
    if (!location.endsWith('.data') || location.includes('..')) continue;
    await mkdir(dirname(join(folder, location)), { recursive: true });
    await writeFile(join(folder, location), bytes);
  }
  await writeFile(path, encodeModel(model));
  return path;
}

test('external weights are read from a folder beside the model', async () => {
  const { head, pool, close } = await readModelFile(await writeOutside('weights/all of it.data'));
  await Promise.all([pool.close(), close()]);
  expect(head).toBe('yolov8');
});

test.each([
  ['/etc/hostname', undefined, "'/etc/hostname', which is no file beside it"],
  ['../weights.data', undefined, 'which is no file beside it'],
  ['a/../../weights.data', undefined, 'which is no file beside it'],
  ['.', undefined, "lie in '.', which can't be read: it is a folder"],
  ['weights.data', 1e6, "end beyond 'weights.data'"],
  ['weights.data', -1, "end beyond 'weights.data'"],
  // Of another size than the tensor.
  ['weights.data', 4, "the runtime can't run it"],
])('weights in %s, with a declared length of %s bytes, are an error: %s', async (location, length, why) => {
  await expect(readModelFile(await writeOutside(location, length))).rejects.toThrow(why);
});

test.each([
  ['', 'it is empty'],
  ['version https://git-lfs.github.com/spec/v1\noid sha256:4d7a', 'git lfs pull'],
  ['<!DOCTYPE html><html>', 'a web page'],
  ['<?xml version="1.0"?>', "as OpenVINO's"],
  ['PK\x03\x04yolov8n/data.pkl', '.pt files are: export the model as ONNX'],
  ['\x80\x02}q', 'a pickle'],
  ['\x1f\x8b\x08\x00', 'gunzip'],
  ['ftrt\x00\x00', 'a TensorRT engine'],
  ['\x20\x01\x00\x00{"description": "yolo"}', 'a TensorRT engine'],
  ['\x1c\x00\x00\x00TFL3', 'tf2onnx'],
  ['\x08\x00\x00\x00ORTM', 'in the format ORT'],
  ['\x89HDF\r\n', 'tf2onnx'],
  ['\x40\x00\x00\x00\x00\x00\x00\x00{"__metadata__":{}}', 'weights without a graph'],
  ['hello world', 'damaged or of another kind'],
])('a file that begins with %j is rejected with its kind', async (text, why) => {
  const path = join(folder, 'mistaken.onnx');
  await writeFile(path, text, 'latin1');
  await expect(readModelFile(path)).rejects.toThrow(why);
});

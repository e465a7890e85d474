import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { writeColourModel } from '../test/colour-model.ts';
import { startOn } from './device.ts';
import type { StartOptions } from './device-use.ts';
import { readModelFile } from './model-file.ts';

// No OpenVINO lies there, whatever this machine has fetched.
process.env.VIDEO_PIPELINE_CACHE = join(tmpdir(), `device-cache-${process.pid}`);
const path = await writeColourModel(join(tmpdir(), `device-${process.pid}.onnx`));
const model = await readModelFile(path);
const options: StartOptions = {
  ...{ model, suppression: { iou: 0.7, classAgnostic: false, maxDetections: 300 } },
  ...{ select: 'auto', candidates: 1000, cpuThreads: 1, precision: 'f32' },
  note() {},
};
afterAll(() => Promise.all([model.pool.close(), model.close(), rm(path)]));

test.each(['cuda', 'tensorrt'] as const)('--device %s without such a device is an error', async (device) => {
  await expect(startOn(device, options)).rejects.toThrow(`device ${device} is not available`);
});

test.each([
  [false, /^onnxruntime's CUDA provider is not installed$/],
  // It is tried, and what onnxruntime itself says is the reason.
  [true, /^device cuda is not available: .*Failed to load shared library/],
])('--device auto uses the CPU and reports the reason (CUDA installed: %s)', async (isInstalled, reason) => {
  const use = await startOn('auto', options, () => isInstalled);
  await use.pool.close();
  expect(use).toMatchObject({ device: 'cpu', batchSizes: [1] });
  expect(use.fallback).toMatch(reason);
  expect(use.fallback).not.toContain('\n');
});

test('--device cpu reports no fallback', async () => {
  const use = await startOn('cpu', options);
  await use.pool.close();
  expect(use.fallback).toBeUndefined();
});

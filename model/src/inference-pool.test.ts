import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { writeColourModel } from '../test/colour-model.ts';
import type { OutputTensor } from './heads/index.ts';
import { InferencePool, threadFor, type WorkerJob } from './inference-pool.ts';
import { probe } from './probe.ts';

let folder: string;
let pool: InferencePool;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pool-'));
  const onnx = await writeColourModel(join(folder, 'colours.onnx'), { takes: 'frames' });
  pool = await InferencePool.start({ onnx, providers: ['cpu'] }, 1);
  await pool.ask(framesOf(...RED), DIMS);
  pool.readAs({ head: 'yolov8', suppression: { iou: 0.7, classAgnostic: false, maxDetections: 9 } });
});
afterEach(async () => {
  await pool.close();
  await rm(folder, { recursive: true });
});

type Dims = WorkerJob['dims'];
const DIMS: Dims = [1, 32, 32, 3];
const [RED, GREEN] = [
  [255, 0, 0],
  [0, 255, 0],
];
const framesOf = (...pixel: number[]) =>
  Uint8Array.from({ length: 32 * 32 * 3 }, (_, at) => pixel[at % 3] ?? 0);

/** The class of the one object in a green picture: green, unless another answer is read. */
async function classOfGreen(more: { isWarmUp: boolean; dims?: Dims }): Promise<number | undefined> {
  const { candidates } = await pool.run({
    dims: DIMS,
    ...more,
    frames: framesOf(...GREEN),
    thresholds: [0.5],
  });
  return candidates[0]?.[0]?.classId;
}

test("a warm-up with the shape of the probe uses the probe's result, once", async () => {
  expect(await classOfGreen({ isWarmUp: true })).toBe(0);
  expect(await classOfGreen({ isWarmUp: true })).toBe(1);
});

test("a request with a picture is never answered with the probe's result", async () => {
  expect(await classOfGreen({ isWarmUp: false })).toBe(1);
  await pool.ask(framesOf(...RED), DIMS);
  expect(await classOfGreen({ isWarmUp: true })).toBe(1);
});

test('a warm-up with another shape runs the model', async () => {
  expect(await classOfGreen({ isWarmUp: true, dims: [1, 16, 64, 3] })).toBe(1);
});

test('a batch goes to the thread that had its shape last, unless the other one has far less to do', () => {
  const [first, second, third] = [0, 1, 2].map((id) => ({
    id,
    reserved: 0,
    shape: `${id}`,
    pending: { size: 0 },
  }));
  if (!first || !second || !third) throw new Error('three threads');
  const idOf = (shape?: string) => threadFor([first, second, third], shape)?.id;
  expect([idOf('0'), idOf('1'), idOf('2')]).toEqual([0, 1, 2]);
  second.pending.size = 1;
  expect([idOf('1'), idOf()]).toEqual([1, 0]);
  second.pending.size = 3;
  expect(idOf('1')).toBe(0);
  first.reserved = 1;
  expect([idOf('0'), idOf()]).toEqual([2, 2]);
});

test('the probe runs two pictures at the same time, so that two threads are ready', async () => {
  const both = Promise.withResolvers<OutputTensor[]>();
  let asked = 0;
  const ask = () => {
    if (++asked === 2) both.resolve([]);
    return both.promise;
  };
  await probe({ ask }, { width: 32, height: 32, batchSize: undefined, batchSizes: [1] });
  expect(asked).toBe(2);
});

import '../../model/src/no-telemetry.ts';
import { readFile } from 'node:fs/promises';
import '@tensorflow/tfjs-backend-wasm';
import { type GraphModel, loadGraphModel } from '@tensorflow/tfjs-converter';
import * as tf from '@tensorflow/tfjs-core';
import { fetchAsset, NANODET } from '@video-pipeline/assets';
import ort from 'onnxruntime-node';
import { expect, test } from 'vitest';
import { convertNanodet } from '../../model/src/nanodet/convert.ts';
import { clipFrames } from './model-clips.ts';

const SIZE = 416;
const PIXELS = SIZE * SIZE;

test('the ONNX model gives the outputs of its TensorFlow.js source for real frames', async () => {
  const [graphPath = '', weightsPath = ''] = await fetchAsset(NANODET);
  const json = JSON.parse(await readFile(graphPath, 'utf8'));
  const weights = await readFile(weightsPath);
  const session = await ort.InferenceSession.create(convertNanodet(json, weights));
  await tf.setBackend('wasm');
  const source = await loadGraphModel(
    tf.io.fromMemory({
      modelTopology: json.modelTopology,
      weightSpecs: json.weightsManifest[0].weights,
      weightData: new Uint8Array(weights).buffer,
      signature: json.signature,
    }),
  );
  const clips = await clipFrames(40, 1, (scaler, frame) =>
    scaler.toBuffer(frame, { resize: { width: SIZE, height: SIZE }, format: 'rgb' }),
  );
  expect(clips).toHaveLength(3);

  for (const { clip, pictures } of clips) {
    for (const rgb of pictures) {
      const images = planes(rgb, [0, 1, 2], [0, 0, 0], [255, 255, 255]);
      const { output0 } = await session.run({
        images: new ort.Tensor('float32', images, [1, 3, SIZE, SIZE]),
      });
      const actual = output0?.data as Float32Array;
      const expected = await detectWithSource(source, rgb);
      expect(output0?.dims, clip).toEqual([1, 84, 3549]);
      expect(
        expected.subarray(4 * 3549).reduce((a, b) => Math.max(a, b)),
        clip,
      ).toBeGreaterThan(0.4);
      expect(worstDifference(actual, expected), clip).toBeLessThan(1e-3);
    }
  }
});

/** Relative; values under 0.01 (a score of next to nothing, a side of no pixels) count as 0.01. */
function worstDifference(actual: Float32Array, expected: Float32Array): number {
  expect(actual.length).toBe(expected.length);
  return expected.reduce(
    (worst, value, at) =>
      Math.max(worst, Math.abs((actual[at] ?? Number.NaN) - value) / Math.max(0.01, Math.abs(value))),
    0,
  );
}

/** RGB bytes -> `[3, SIZE, SIZE]`, channels in `order`, less `mean`, divided by `deviation`. */
function planes(rgb: Buffer, order: number[], mean: number[], deviation: number[]): Float32Array {
  return Float32Array.from({ length: 3 * PIXELS }, (_, at) => {
    const plane = Math.floor(at / PIXELS);
    const value = rgb[(at % PIXELS) * 3 + (order[plane] ?? 0)] ?? 0;
    return (value - (mean[plane] ?? 0)) / (deviation[plane] ?? 1);
  });
}

/** Runs the source and decodes its raw outputs by the definition in NanoDet's paper code, one anchor after another. */
async function detectWithSource(source: GraphModel, rgb: Buffer): Promise<Float32Array> {
  const input = planes(rgb, [2, 1, 0], [103.53, 116.28, 123.675], [57.375, 57.12, 58.395]);
  const names = [
    'Identity:0',
    'Identity_1:0',
    'Identity_2:0',
    'Identity_3:0',
    'Identity_4:0',
    'Identity_5:0',
  ];
  const outputs = source.execute(tf.tensor4d(input, [1, 3, SIZE, SIZE]), names) as tf.Tensor[];
  const data = await Promise.all(outputs.map((output) => output.data()));
  const result = new Float32Array(84 * 3549);
  let anchor = 0;
  for (const [level, stride] of [8, 16, 32].entries()) {
    const scores = data[level] ?? [];
    const boxes = data[level + 3] ?? [];
    const columns = SIZE / stride;
    for (let cell = 0; cell < columns * columns; cell++, anchor++) {
      const [left, top, right, bottom] = [0, 1, 2, 3].map(
        (side) => stride * expectation(boxes.slice(cell * 44 + side * 11, cell * 44 + side * 11 + 11)),
      ) as [number, number, number, number];
      const x = ((cell % columns) + 0.5) * stride;
      const y = (Math.floor(cell / columns) + 0.5) * stride;
      const box = [x + (right - left) / 2, y + (bottom - top) / 2, left + right, top + bottom];
      for (const [row, value] of [...box, ...scores.slice(cell * 80, cell * 80 + 80)].entries()) {
        result[row * 3549 + anchor] = value;
      }
    }
  }
  return result;
}

function expectation(logits: ArrayLike<number>): number {
  const weights = Array.from(logits, (logit) => Math.exp(logit));
  const sum = weights.reduce((a, b) => a + b, 0);
  return weights.reduce((total, weight, bin) => total + (weight / sum) * bin, 0);
}

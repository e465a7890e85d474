import { parentPort, workerData } from 'node:worker_threads';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import type { OutputTensor } from './heads/index.ts';
import { FRAMES_INPUT } from './onnx/uint8-input.ts';
import { madePictures, type ProbeReply, type ProbeSetup } from './probe.ts';

const setup: ProbeSetup = workerData;
/** Differences that come from adding in another order, half precision included. */
const TOLERANCE = 0.02;

async function run(): Promise<ProbeReply> {
  const { onnx, batchSize, width, height } = setup;
  const session = await InferenceSession.create(onnx, { executionProviders: ['cpu'], logSeverityLevel: 3 });
  const answer = async (pictures: readonly Uint8Array[]): Promise<OutputTensor[]> => {
    const frames = new Tensor('uint8', Buffer.concat(pictures), [pictures.length, height, width, 3]);
    const results = await session.run({ [FRAMES_INPUT]: frames });
    return session.outputNames.map((name) => {
      const { dims, data } = results[name] as Tensor;
      return { name, dims: [...dims], data: Float32Array.from(data as Float32Array) };
    });
  };
  const pictures = madePictures(width, height);
  const alone: OutputTensor[][] = [];
  for (const picture of pictures) alone.push(await answer(Array(batchSize ?? 1).fill(picture)));
  const batches = batchSize === undefined && (await keepsApart(answer, pictures, alone));
  await session.release();
  return { alone, batches };
}

async function keepsApart(
  answer: (pictures: readonly Uint8Array[]) => Promise<OutputTensor[]>,
  pictures: readonly Uint8Array[],
  alone: readonly OutputTensor[][],
): Promise<boolean> {
  // Three, since an answer for two can hide that the first one alone is looked at.
  const order = [0, 1, 0];
  const together = await answer(order.map((index) => pictures[index] as Uint8Array)).catch(() => undefined);
  return (
    together?.every(({ dims, data }, output) => {
      const single = order.map((index) => alone[index]?.[output]);
      const same = dims[0] === order.length && dims.length === single[0]?.dims.length;
      const length = data.length / order.length;
      return (
        same &&
        single.every(
          (one, place) => one?.data.length === length && isClose(one.data, data.subarray(place * length)),
        )
      );
    }) ?? false
  );
}

function isClose(one: Float32Array, other: Float32Array): boolean {
  return one.every((value, index) => {
    const difference = Math.abs(value - (other[index] as number));
    return !(difference > TOLERANCE * Math.max(1, Math.abs(value)));
  });
}

parentPort?.postMessage(
  await run().catch((error): ProbeReply => ({ error: String(error?.message ?? error) })),
);

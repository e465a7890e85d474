import type { OutputTensor } from './heads/index.ts';
import type { InferencePool } from './inference-pool.ts';

/** Tolerated difference of values: sums in another order differ, also in half precision. */
const TOLERANCE = 0.02;
/** Smallest batch that is tried: with two, a model that reads only the first picture might not be noticed. */
const MIN_BATCH = 3;
/** Larger batches are tried only within this time, milliseconds, and up to this many pixels. */
const BATCHES_BUDGET_MS = 1_000;
const MAX_PIXELS = 4_000_000;

/**
 * Runs a model on synthetic pictures.
 * @param size of the input, pixels; `batchSize` is the model's fixed one, `batchSizes` are those that will be used
 * @returns the outputs for each picture `alone`, and whether pictures in a batch give the same outputs. Some exports
 *   mix them, or always return one result.
 * @throws InferenceError when the runtime can't run it
 */
export async function probe(
  pool: Pick<InferencePool, 'ask'>,
  size: { width: number; height: number; batchSize: number | undefined; batchSizes: readonly number[] },
): Promise<{ alone: OutputTensor[][]; batches: { keepsApart?: boolean } }> {
  const { width, height, batchSize, batchSizes } = size;
  const pictures = syntheticPictures(width, height);
  const answer = (order: readonly number[]) =>
    pool.ask(new Uint8Array(Buffer.concat(order.map((index) => pictures[index] as Uint8Array))), [
      ...[order.length, height, width, 3],
    ] as [number, number, number, 3]);
  // Started together, so that each runs on another thread if there are several.
  const alone = await Promise.all(
    Array.from(pictures.keys(), (index) => answer(Array(batchSize ?? 1).fill(index))),
  );
  const began = performance.now();
  const sizes = batchSize ? [] : batchSizes.filter((size) => size > 1);
  let keepsApart = true;
  for (const size of sizes.length > 0 ? new Set([MIN_BATCH, ...sizes]) : []) {
    const isCostly = size * width * height > MAX_PIXELS || performance.now() - began > BATCHES_BUDGET_MS;
    if (!keepsApart || (size > MIN_BATCH && isCostly)) continue;
    const order = Array.from({ length: size }, (_, place) => place % pictures.length);
    keepsApart = areApart(await answer(order).catch(() => []), order, alone);
  }
  return { alone, batches: sizes.length > 0 ? { keepsApart } : {} };
}

function areApart(
  together: readonly OutputTensor[],
  order: readonly number[],
  alone: readonly OutputTensor[][],
): boolean {
  return (
    together.every(({ dims, data }, output) => {
      const length = data.length / order.length;
      return (
        dims[0] === order.length &&
        order.every((index, place) => {
          const one = alone[index]?.[output];
          return (
            one?.dims.length === dims.length &&
            one.data.length === length &&
            isClose(one.data, data.subarray(place * length))
          );
        })
      );
    }) && together.length > 0
  );
}

function isClose(one: Float32Array, other: Float32Array): boolean {
  return one.every((value, index) => {
    const difference = Math.abs(value - (other[index] as number));
    return !(difference > TOLERANCE * Math.max(1, Math.abs(value)));
  });
}

/** Two pictures with clearly different outputs: noise, and bright bars on dark. uint8 `[height, width, 3]`. */
export function syntheticPictures(width: number, height: number): [Uint8Array, Uint8Array] {
  const noise = new Uint8Array(width * height * 3);
  let state = 1;
  for (let at = 0; at < noise.length; at++) {
    state = (state * 48_271) % 2_147_483_647;
    noise[at] = state;
  }
  const row = new Uint8Array(width * 3).fill(DARK);
  for (let x = 0; x < width; x++) if (Math.floor(x / (width / 5)) % 2 === 1) row.set([230, 210, 190], x * 3);
  const bars = new Uint8Array(noise.length).fill(DARK);
  for (let y = Math.floor(height / 3) + 1; y < height; y++) bars.set(row, y * row.length);
  return [noise, bars];
}

const DARK = 40;

import type { OutputTensor } from './heads/index.ts';
import type { InferencePool } from './inference-pool.ts';

/** What a model is asked before it serves. */
export interface ProbeSetup {
  /** Frames the model takes at once: a fixed number, or any. */
  batchSize: number | undefined;
  /** Pixels. */
  width: number;
  /** Pixels. */
  height: number;
  /** Numbers of pictures that it is to be given at once. */
  batchSizes: readonly number[];
}

/** What a model answered. */
export interface ProbeResult {
  /** Outputs for each of the made pictures, alone. */
  alone: OutputTensor[][];
  /**
   * Whether different pictures in one batch get what each gets alone. Some exports mix pictures up, or always give one
   * answer.
   */
  batches: { keepsApart?: boolean };
}

/** Differences that come from adding in another order, half precision included. */
const TOLERANCE = 0.02;
/** An answer for two can hide that the first one alone is looked at. */
const LEAST_BATCH = 3;
/** Larger batches are tried as long as that takes no longer, milliseconds, and no more memory than so many pixels. */
const BATCHES_MS = 1_000;
const MAX_PIXELS = 4_000_000;

/**
 * Asks a model about made pictures.
 * @throws InferenceError when the runtime can't run it
 */
export async function probe(
  pool: Pick<InferencePool, 'ask'>,
  { batchSize, width, height, batchSizes }: ProbeSetup,
): Promise<ProbeResult> {
  const pictures = madePictures(width, height);
  const answer = (order: readonly number[]) =>
    pool.ask(new Uint8Array(Buffer.concat(order.map((index) => pictures[index] as Uint8Array))), [
      ...[order.length, height, width, 3],
    ] as [number, number, number, 3]);
  const alone: OutputTensor[][] = [];
  for (const index of pictures.keys()) alone.push(await answer(Array(batchSize ?? 1).fill(index)));
  const began = performance.now();
  const sizes = batchSize ? [] : batchSizes.filter((size) => size > 1);
  let keepsApart = true;
  for (const size of sizes.length > 0 ? new Set([LEAST_BATCH, ...sizes]) : []) {
    const isCostly = size * width * height > MAX_PIXELS || performance.now() - began > BATCHES_MS;
    if (!keepsApart || (size > LEAST_BATCH && isCostly)) continue;
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

/**
 * Pictures that no two models' errors leave alike: noise, and bright bars on dark. uint8 `[height, width, 3]`.
 */
export function madePictures(width: number, height: number): [Uint8Array, Uint8Array] {
  const bytes = width * height * 3;
  let state = 1;
  const noise = Uint8Array.from({ length: bytes }, () => {
    state = (state * 48_271) % 2_147_483_647;
    return state & 255;
  });
  const bars = Uint8Array.from({ length: bytes }, (_, index) => {
    const pixel = Math.floor(index / 3);
    const [x, y] = [pixel % width, Math.floor(pixel / width)];
    return Math.floor(x / (width / 5)) % 2 === 1 && y > height / 3 ? 230 - 20 * (index % 3) : 40;
  });
  return [noise, bars];
}

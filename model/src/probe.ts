import './no-telemetry.ts';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { OutputTensor } from './heads/index.ts';

/** What a model is asked before it serves. */
export interface ProbeSetup {
  /** The ONNX file, changed to take uint8 frames. */
  onnx: Uint8Array;
  /** Frames the model takes at once: a fixed number, or any. */
  batchSize: number | undefined;
  /** Pixels. */
  width: number;
  /** Pixels. */
  height: number;
}

/** What a model answered. */
export interface ProbeResult {
  /** Outputs for each of the made pictures, alone. */
  alone: OutputTensor[][];
  /**
   * Whether two different pictures in one batch get what each gets alone. Some exports mix pictures up, or always give
   * one answer.
   */
  batches: boolean;
}

export type ProbeReply = ProbeResult | { error: string };

/**
 * Runs a model on made pictures, on a thread of its own so that models in service go on meanwhile.
 * @throws Error when the runtime can't load or run it
 */
export async function probe(setup: ProbeSetup): Promise<ProbeResult> {
  const worker = new Worker(new URL('./probe-worker.ts', import.meta.url), { workerData: setup });
  const ended = once(worker, 'exit').then(([code]): [ProbeReply] => [
    { error: `its thread ended with code ${code}` },
  ]);
  const [reply] = await Promise.race([once(worker, 'message') as Promise<[ProbeReply]>, ended]);
  await ended;
  if ('error' in reply) throw new Error(reply.error);
  return reply;
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

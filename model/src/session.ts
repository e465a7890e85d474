import type { OutputTensor } from './heads/index.ts';

/** Numbers that a runtime computes with on a CPU; `f32` is exact, `int8` what a quantised model asks for. */
export const precisions = ['f32', 'bf16', 'int8'] as const;
export type Precision = (typeof precisions)[number];

/** A model, loaded by some runtime. */
export interface Session {
  /**
   * Runs the model once, on the thread that calls.
   * @param frames uint8 `[N, H, W, 3]`
   */
  run(frames: Uint8Array, dims: readonly [number, number, number, number]): Promise<OutputTensor[]>;
}

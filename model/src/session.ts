import type { OutputTensor } from './heads/index.ts';

/** Name of the input for frames that a model's graph gets here. */
export const FRAMES_INPUT = 'video_pipeline_frames';

/** Number formats of a runtime on a CPU. `f32` is exact; `int8` is for quantised models. */
export const precisions = ['f32', 'bf16', 'int8'] as const;
export type Precision = (typeof precisions)[number];

/** A model that a runtime has loaded. */
export interface Session {
  /**
   * Runs the model once, on the calling thread.
   * @param frames uint8 `[N, H, W, 3]`
   */
  run(frames: Uint8Array, dims: readonly [number, number, number, number]): Promise<OutputTensor[]>;
}

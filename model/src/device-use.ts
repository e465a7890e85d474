import type { SuppressionOptions } from './heads/index.ts';
import type { InferencePool } from './inference-pool.ts';
import type { ModelFile } from './model-file.ts';
import type { Precision } from './session.ts';

/**
 * Where a model may run: `openvino` is the CPU by OpenVINO instead of onnxruntime; `auto` is CUDA where it works, and
 * otherwise whichever of the two was measured to be faster on this CPU.
 */
export const devices = ['auto', 'cpu', 'openvino', 'cuda', 'tensorrt'] as const;
export type Device = (typeof devices)[number];

/** How a device is best used. */
export interface DeviceUse {
  device: Exclude<Device, 'auto'>;
  /** What the runtime computes with. */
  precision: Precision;
  pool: InferencePool;
  /** Preferred numbers of pictures that the runtime gets at once, ascending. */
  batchSizes: readonly number[];
  /** Longest wait for a batch to fill, milliseconds. */
  batchDelayMs: number;
  /** Whether the runtime prepares itself for each shape of input when it first sees it. */
  tunesShapes: boolean;
  /** Why `auto` runs it where it does, in one line. */
  fallback?: string;
}

/**
 * Where the best candidates are chosen: in the model's graph, or on the host from all of its outputs. `auto` is what measures
 * better: on a GPU the graph, which spares copying 1.7 MB a picture, on a CPU the host, which looks at each score once.
 */
export const selects = ['auto', 'graph', 'host'] as const;
export type Select = (typeof selects)[number];

export interface StartOptions {
  /** Its pool is taken where it suits the device, and ended where not. */
  model: ModelFile;
  suppression: SuppressionOptions;
  /** Most candidates of a picture that are chosen in the graph. */
  candidates: number;
  select: Select;
  /** Inference threads on a CPU; 0 means one a core. */
  cpuThreads: number;
  /** `bf16` may be taken where it is faster, by OpenVINO. */
  precision: Precision;
  note(line: string): void;
}

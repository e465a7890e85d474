import type { SuppressionOptions } from './heads/index.ts';
import type { InferencePool, Reading } from './inference-pool.ts';
import type { ModelFile } from './model-file.ts';
import type { Precision } from './session.ts';

/**
 * Where a model may run. `openvino` is the CPU with OpenVINO instead of onnxruntime. `auto` is CUDA if it works, and
 * otherwise the faster of onnxruntime and OpenVINO on this CPU, as measured.
 */
export const devices = ['auto', 'cpu', 'openvino', 'cuda', 'tensorrt'] as const;
export type Device = (typeof devices)[number];

/** A device and the best settings for it. */
export interface DeviceUse {
  device: Exclude<Device, 'auto'>;
  precision: Precision;
  pool: InferencePool;
  /** Preferred numbers of pictures that the runtime gets at once, ascending. */
  batchSizes: readonly number[];
  batchDelayMs: number;
  /** Whether the runtime tunes itself to each input shape at its first use. */
  tunesShapes: boolean;
  /** Why `auto` chose this device, in one line. */
  fallback?: string;
}

/**
 * Where the best candidates are chosen: in the model's graph, or on the host from all of the model's outputs. `auto` is
 * the faster one in measurements. On a GPU that is the graph, which saves copying 1.7 MB a picture. On a CPU it is the
 * host, which reads each score once.
 */
export const selects = ['auto', 'graph', 'host'] as const;
export type Select = (typeof selects)[number];

export interface StartOptions {
  /** The model. Its pool is used if it suits the device; otherwise the pool is closed. */
  model: ModelFile;
  suppression: SuppressionOptions;
  classThresholds?: Reading['classThresholds'];
  candidates: number;
  select: Select;
  cpuThreads: number;
  /** `bf16` allows OpenVINO to compute with it, if that is faster. */
  precision: Precision;
  note(line: string): void;
}

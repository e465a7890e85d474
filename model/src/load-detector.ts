import { readFile } from 'node:fs/promises';
import { Detector, type DetectorOptions } from './detector.ts';
import { startOn } from './device.ts';
import type { Device, Select } from './device-use.ts';
import type { HeadName } from './heads/index.ts';
import { letterbox } from './letterbox.ts';
import { readModelFile } from './model-file.ts';
import type { Precision } from './session.ts';

/** How models are loaded and used; the same for all models of a server. */
export interface LoadOptions {
  /** Family of the model, when it is not to be recognised. */
  head?: HeadName;
  /** File with the classes' names, one a line, for a model that does not name them. */
  names?: string;
  device: Device;
  /** Inference threads on a CPU, 0 for one a core. */
  threads: number;
  /** What a CPU may compute with: `bf16` is faster with OpenVINO where the CPU has it, and less exact. */
  precision: Precision;
  /** Preferred numbers of pictures that the runtime gets at once, ascending; what suits the device without it. */
  batchSizes?: readonly number[];
  /** Longest wait for a batch to reach one of them, milliseconds; what suits the device without it. */
  batchDelay?: number;
  /** Overlap over which the weaker of two boxes is dropped, 0..1; what the model says without it. */
  iou?: number;
  classAgnostic: boolean;
  select: Select;
  /** Most candidates of a picture that are chosen in the graph. */
  candidates: number;
  /** Told what is fetched and measured. */
  note?: (line: string) => void;
  maxDetections: number;
  detector: Pick<
    DetectorOptions,
    | 'maxQueue'
    | 'maxPixels'
    | 'resize'
    | 'classThresholds'
    | 'observe'
    | 'observeBatch'
    | 'observeCut'
    | 'onWarmUpError'
  >;
}

/** Overlap for non-maximum suppression where the model's file says nothing: Ultralytics' default. */
const DEFAULT_IOU = 0.7;

/**
 * Loads a model and has every thread run it once.
 * @throws UnsupportedModelError when the file holds none that can be served, InferenceError when the runtime or the
 *   device refuses it
 */
export async function loadDetector(path: string, options: LoadOptions): Promise<Detector> {
  const names = options.names ? await readNames(options.names) : undefined;
  const model = await readModelFile(path, { head: options.head, names });
  const suppression = {
    iou: options.iou ?? model.metadata.iou ?? DEFAULT_IOU,
    classAgnostic: options.classAgnostic,
    maxDetections: options.maxDetections,
  };
  const setup = { onnx: model.onnx, head: model.head, suppression };
  const box = letterbox(16, 9, model.inputSize, model.fit);
  const use = await startOn(options.device, {
    ...{ setup, selecting: model.selecting, select: options.select, candidates: options.candidates },
    ...{ cpuThreads: options.threads, precision: options.precision, version: model.version },
    dims: [model.batchSize ?? 1, box.inputHeight, box.inputWidth, 3],
    note: options.note ?? (() => {}),
  });
  const detector = new Detector({
    ...options.detector,
    ...use,
    model,
    // A model fixed to a batch size computes that many, whether they are there or not.
    batchSizes: model.batchSize ? [model.batchSize] : (options.batchSizes ?? use.batchSizes),
    batchDelayMs: options.batchDelay ?? use.batchDelayMs,
  });
  try {
    await detector.warmUp();
  } catch (error) {
    await detector.close();
    throw error;
  }
  return detector;
}

async function readNames(path: string): Promise<string[]> {
  return (await readFile(path, 'utf8')).trim().split(/\r?\n/);
}

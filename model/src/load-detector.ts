import { readFile } from 'node:fs/promises';
import { thresholdsById } from './class-thresholds.ts';
import { Detector, type DetectorOptions } from './detector.ts';
import { CPU_BATCH, GPU_BATCH, isOnGpu, startOn } from './device.ts';
import type { Device, DeviceUse, Select } from './device-use.ts';
import type { HeadName } from './heads/index.ts';
import { inLittleMemory } from './memory.ts';
import { type ModelFile, readModelFile } from './model-file.ts';
import type { Precision } from './session.ts';
import { UnsupportedModelError } from './unsupported-model.ts';

/** Options for loading and running models; the same for all models of a server. */
export interface LoadOptions {
  /** Family of the model; by default it is recognised. */
  head?: HeadName;
  /** File with the classes' names, one a line, for a model that does not name them. */
  names?: string;
  device: Device;
  /** Inference threads on a CPU; 0 means one for each core. */
  threads: number;
  /** Number format on a CPU. `bf16` is faster with OpenVINO where supported. `int8` refuses unquantised models. */
  precision: Precision;
  /** Preferred batch sizes, ascending; default: those of the device. */
  batchSizes?: readonly number[];
  /** Longest wait for a batch to reach a preferred size, milliseconds; default: that of the device. */
  batchDelay?: number;
  /** Overlap above which the weaker of two boxes is dropped, 0..1; default: the model's own. */
  iou?: number;
  classAgnostic: boolean;
  /** Thresholds by class name, 0..1. They replace those of the model's card, and that of the request. */
  classThresholds?: ReadonlyMap<string, number>;
  /** Called when a threshold is for a class that the model does not have; without it, the model is refused. */
  onUnknownClass?: (problem: string) => void;
  /** Called with each other file that weights are in, before that file is read. */
  onWeights?: (file: string) => Promise<void>;
  select: Select;
  /** Most candidates of a picture that the graph returns. */
  candidates: number;
  /** Called with a line for each download and measurement. */
  note?: (line: string) => void;
  maxDetections: number;
  detector: Omit<DetectorOptions, keyof DeviceUse | 'model'>;
}

/** What the tools for models have in common. */
export interface ToolOptions extends Pick<LoadOptions, 'head' | 'names'> {
  /** Path of what is written. */
  output?: string;
  /** Objects with a lower confidence are left out, 0..1. */
  confidence: number;
  maxPixels: number;
}

/** Options for a tool: on the CPU, with the most exact settings. @param observe called with the time of each step */
export function optionsForTool(maxPixels: number, observe: LoadOptions['detector']['observe'] = () => {}) {
  return {
    ...{ device: 'cpu', threads: 1, precision: 'f32', select: 'host' },
    ...{ candidates: 1000, classAgnostic: false, maxDetections: 300 },
    detector: {
      ...{ maxQueue: Number.POSITIVE_INFINITY, maxPixels, resize: 'opencv' },
      ...{ observe, observeBatch() {}, observeCut() {}, onWarmUpError() {} },
    },
  } satisfies LoadOptions;
}

/** Overlap for non-maximum suppression if the model's file does not say it: Ultralytics' default. */
const DEFAULT_IOU = 0.7;

/**
 * Loads a model and runs it once on every thread.
 * @throws UnsupportedModelError when the model can't be served, InferenceError when the runtime or the device fails
 */
export function loadDetector(path: string, options: LoadOptions): Promise<Detector> {
  return inLittleMemory(() => load(path, options));
}

async function load(path: string, options: LoadOptions): Promise<Detector> {
  const model = await openModel(path, options);
  try {
    if (options.precision === 'int8' && !model.isQuantised) {
      throw new UnsupportedModelError(
        `${path} is not in int8; make it so with: npm run model -- quantise ${path} --pictures <folder>`,
      );
    }
    const suppression = {
      iou: options.iou ?? model.metadata.iou ?? DEFAULT_IOU,
      classAgnostic: options.classAgnostic,
      maxDetections: options.maxDetections,
    };
    const { confidence = {} } = model.evidence.card;
    const byName = new Map([...Object.entries(confidence), ...(options.classThresholds ?? [])]);
    const classThresholds = thresholdsById(byName, model, options.onUnknownClass);
    const { select, candidates, precision, note = () => {}, threads: cpuThreads } = options;
    const use = await startOn(options.device, {
      ...{ model, suppression, classThresholds, select, candidates, cpuThreads, precision, note },
    });
    const detector = new Detector({
      ...options.detector,
      ...use,
      model,
      // A model with a fixed batch size always computes a full batch.
      batchSizes: model.batchSize ? [model.batchSize] : (options.batchSizes ?? use.batchSizes),
      batchDelayMs: options.batchDelay ?? use.batchDelayMs,
    });
    await detector.inputSizes.warmUp().catch(async (error) => {
      await detector.close();
      throw error;
    });
    return detector;
  } catch (error) {
    await model.pool.close();
    throw error;
  } finally {
    await model.close();
  }
}

/** Reads a model and recognises its family, on the threads that will serve it. @throws UnsupportedModelError */
export async function openModel(
  path: string,
  options: Pick<LoadOptions, 'head' | 'names' | 'device' | 'threads' | 'batchSizes' | 'onWeights'>,
): Promise<ModelFile> {
  const { head, device, threads, onWeights } = options;
  const names = options.names ? await readNames(options.names) : undefined;
  const isGpu = isOnGpu(device);
  const batchSizes = options.batchSizes ?? (isGpu ? GPU_BATCH : CPU_BATCH).batchSizes;
  return readModelFile(path, {
    ...{ head, names, onWeights },
    threads: isGpu ? 1 : threads,
    batchSizes,
  });
}

async function readNames(path: string): Promise<string[]> {
  const text = await readFile(path, 'utf8').catch((cause) => {
    throw new UnsupportedModelError(`can't read the names in ${path}: ${cause.message}`, { cause });
  });
  const lines = text.trimEnd().split('\n');
  // An empty line is a class without a name: later names keep their numbers. `trim` also removes a byte order mark.
  return lines.map((line, id) => line.trim() || `class ${id}`);
}

import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { onnxruntimeFolder } from './cuda-provider.ts';
import { fasterOf } from './faster-runtime.ts';
import { InferenceError, InferencePool, type WorkerJob, type WorkerSetup } from './inference-pool.ts';
import { isOpenvinoCached, openvinoLibraries } from './openvino/wheel.ts';
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

// On a CPU, a batch takes as long as its pictures one by one, and threads with a picture each do more together than
// one picture split among them. A GPU wants batches, and a second thread that prepares one while the first one's runs.
const CPU_BATCH = { batchSizes: [1], batchDelayMs: 0, tunesShapes: false };
const GPU_THREADS = 2;
// 25 frames are what a Lambda sends; more of them come together when several ask at once. The delay is what decoding
// such a request takes: a batch that waits for nothing more starts at once. cuDNN tries all algorithms for each new
// shape, for seconds (`cudnn_conv_algo_search` is EXHAUSTIVE unless set, which onnxruntime-node can't do).
const GPU_BATCH = { batchSizes: [25, 50], batchDelayMs: 10, tunesShapes: true };

/**
 * Where the best candidates are chosen: in the model's graph, or on the host from all of its outputs. `auto` is what measures
 * better: on a GPU the graph, which spares copying 1.7 MB a picture, on a CPU the host, which looks at each score once.
 */
export const selects = ['auto', 'graph', 'host'] as const;
export type Select = (typeof selects)[number];

export interface StartOptions {
  setup: Omit<WorkerSetup, 'providers' | 'openvino' | 'selects'>;
  /** The model's file, changed to choose that many candidates; `undefined` where it can't. */
  selecting(most: number): Uint8Array | undefined;
  /** Most candidates of a picture that it chooses. */
  candidates: number;
  select: Select;
  /** Inference threads on a CPU; 0 means one a core. */
  cpuThreads: number;
  /** `bf16` may be taken where it is faster, by OpenVINO. */
  precision: Precision;
  /** The input that wide pictures get, to measure with: `[1, H, W, 3]`. */
  dims: WorkerJob['dims'];
  /** Changes with the model. */
  version: string;
  note(line: string): void;
}

/**
 * Loads the model where `device` says. TensorRT builds its engines at every start, which takes minutes: onnxruntime-node
 * can't turn on its cache (`session_options_helper.cc` sets nothing but the device, which makes the provider ignore
 * `ORT_TENSORRT_*` too).
 * @param isCudaInstalled whether it is worth a try when `device` is `auto`
 * @throws InferenceError when it can't be loaded there; `auto` falls back to the CPU first
 */
export async function startOn(
  device: Device,
  options: StartOptions,
  isCudaInstalled = hasCuda,
): Promise<DeviceUse> {
  if (device === 'auto') {
    if (!isCudaInstalled()) return startOnCpu(options, "onnxruntime's CUDA provider is not installed");
    return startOn('cuda', options).catch((error: Error) => startOnCpu(options, oneLine(error.message)));
  }
  if (device === 'cpu') return startOnnxruntime(options);
  if (device === 'openvino') return startOpenvino(options);
  const providers = device === 'tensorrt' ? ['tensorrt', 'cuda', 'cpu'] : ['cuda', 'cpu'];
  try {
    const pool = await InferencePool.start(
      { ...setupOf(options, device === 'cuda'), providers },
      GPU_THREADS,
    );
    return { device, precision: 'f32', pool, ...GPU_BATCH };
  } catch (cause) {
    throw new InferenceError(`device ${device} is not to be had: ${(cause as Error).message}`, { cause });
  }
}

async function startOnnxruntime(options: StartOptions): Promise<DeviceUse> {
  const setup = { ...setupOf(options, false), providers: ['cpu'] };
  const pool = await InferencePool.start(setup, threadsOf(options.cpuThreads));
  return { device: 'cpu', precision: 'f32', pool, ...CPU_BATCH };
}

async function startOpenvino(options: StartOptions): Promise<DeviceUse> {
  const { cpuThreads, precision, note } = options;
  try {
    const openvino = { libraries: await openvinoLibraries(note), precision };
    const pool = await InferencePool.start(
      { ...setupOf(options, false), providers: [], openvino },
      threadsOf(cpuThreads),
    );
    return { device: 'openvino', precision, pool, ...CPU_BATCH };
  } catch (cause) {
    throw new InferenceError(`device openvino is not to be had: ${(cause as Error).message}`, { cause });
  }
}

/**
 * Takes the faster of onnxruntime and OpenVINO. In f32 they are about as fast as each other: OpenVINO, which has to be
 * fetched, is a candidate where it lies already, or where bf16 may be taken.
 */
async function startOnCpu(options: StartOptions, fallback: string): Promise<DeviceUse> {
  const onnxruntime = await startOnnxruntime(options);
  if (options.precision === 'f32' && !isOpenvinoCached()) return { ...onnxruntime, fallback };
  try {
    const openvino = await startOpenvino(options);
    const [taken, other] = await fasterOf(onnxruntime, openvino, options);
    await other.pool.close();
    return { ...taken, fallback };
  } catch (error) {
    return { ...onnxruntime, fallback: `${fallback}; ${oneLine((error as Error).message)}` };
  }
}

/** TensorRT is left out: its `TopK` takes no number that is computed. */
function setupOf({ setup, selecting, candidates, select }: StartOptions, byDefault: boolean) {
  const isInside = select === 'auto' ? byDefault : select === 'graph';
  const onnx = isInside ? selecting(candidates) : undefined;
  return onnx ? { ...setup, onnx, selects: candidates } : setup;
}

const threadsOf = (cpuThreads: number) => cpuThreads || availableParallelism();

const oneLine = (text: string) => text.replace(/\s+/g, ' ').trim();

/** Whether onnxruntime's CUDA provider is installed; asking the runtime itself for it would print an error. */
function hasCuda(): boolean {
  return existsSync(join(onnxruntimeFolder(), 'libonnxruntime_providers_cuda.so'));
}

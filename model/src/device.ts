import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { InferenceError, InferencePool, type WorkerSetup } from './inference-pool.ts';

/** Where a model may run; `auto` is CUDA where it works and the CPU otherwise. */
export const devices = ['auto', 'cpu', 'cuda', 'tensorrt'] as const;
export type Device = (typeof devices)[number];

/** How a device is best used. */
export interface DeviceUse {
  device: Exclude<Device, 'auto'>;
  pool: InferencePool;
  /** Preferred numbers of pictures that the runtime gets at once, ascending. */
  batchSizes: readonly number[];
  /** Longest wait for a batch to fill, milliseconds. */
  batchDelayMs: number;
  /** Whether the runtime prepares itself for each shape of input when it first sees it. */
  tunesShapes: boolean;
  /** Why `auto` runs it on the CPU, in one line. */
  fallback?: string;
}

// On a CPU, a batch takes as long as its pictures one by one, and threads with a picture each do more together than
// one picture split among them. A GPU wants batches, and a second thread that prepares one while the first one's runs.
const GPU_THREADS = 2;
// 25 frames are what a Lambda sends; more of them come together when several ask at once. The delay is what decoding
// such a request takes: a batch that waits for nothing more starts at once. cuDNN tries all algorithms for each new
// shape, for seconds (`cudnn_conv_algo_search` is EXHAUSTIVE unless set, which onnxruntime-node can't do).
const GPU_BATCH = { batchSizes: [25, 50], batchDelayMs: 10, tunesShapes: true };

/**
 * Loads the model where `device` says. TensorRT builds its engines at every start, which takes minutes: onnxruntime-node
 * can't turn on its cache (`session_options_helper.cc` sets nothing but the device, which makes the provider ignore
 * `ORT_TENSORRT_*` too).
 * @param cpuThreads inference threads on a CPU; 0 means one a core
 * @param isCudaInstalled whether it is worth a try when `device` is `auto`
 * @throws InferenceError when it can't be loaded there; `auto` falls back to the CPU first
 */
export async function startOn(
  device: Device,
  setup: Omit<WorkerSetup, 'providers'>,
  cpuThreads: number,
  isCudaInstalled = hasCuda,
): Promise<DeviceUse> {
  if (device === 'auto') {
    const onCpu = async (fallback: string) => ({ ...(await startOn('cpu', setup, cpuThreads)), fallback });
    if (!isCudaInstalled()) return onCpu("onnxruntime's CUDA provider is not installed");
    return startOn('cuda', setup, cpuThreads).catch((error: Error) => onCpu(oneLine(error.message)));
  }
  if (device === 'cpu') {
    const pool = await InferencePool.start(
      { ...setup, providers: ['cpu'] },
      cpuThreads || availableParallelism(),
    );
    return { device, pool, batchSizes: [1], batchDelayMs: 0, tunesShapes: false };
  }
  const providers = device === 'tensorrt' ? ['tensorrt', 'cuda', 'cpu'] : ['cuda', 'cpu'];
  try {
    const pool = await InferencePool.start({ ...setup, providers }, GPU_THREADS);
    return { device, pool, ...GPU_BATCH };
  } catch (cause) {
    throw new InferenceError(`device ${device} is not to be had: ${(cause as Error).message}`, { cause });
  }
}

const oneLine = (text: string) => text.replace(/\s+/g, ' ').trim();

/** Whether onnxruntime's CUDA provider is installed; asking the runtime itself for it would print an error. */
function hasCuda(): boolean {
  const entry = createRequire(import.meta.url).resolve('onnxruntime-node');
  const folder = join(dirname(entry), '../bin/napi-v6', process.platform, process.arch);
  return existsSync(join(folder, 'libonnxruntime_providers_cuda.so'));
}

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { onnxruntimeFolder } from './cuda-provider.ts';
import type { Device, DeviceUse, StartOptions } from './device-use.ts';
import { fasterRuntime } from './faster-runtime.ts';
import { cpuShape, InferenceError, InferencePool, type WorkerSetup } from './inference-pool.ts';
import { isOpenvinoCached, openvinoLibraries } from './openvino/wheel.ts';

// On a CPU, a batch takes as long as its pictures one by one. Threads with one picture each do more work than threads
// that share a picture. A GPU needs batches, and a second thread that prepares a batch while the first one runs.
export const CPU_BATCH = { batchSizes: [1], batchDelayMs: 0, tunesShapes: false };
const GPU_THREADS = 2;
// A Lambda function sends 25 frames. The delay is the time that decoding such a request takes. If no further frame is
// expected, a batch starts without delay. Every batch is padded to one size: onnxruntime keeps the plans of its
// convolutions for the last shape alone, and makes them anew at each change of shape (`UpdateState` in
// `core/providers/cuda/nn/conv.cc` with cuDNN 9, microsoft/onnxruntime#23006). That takes far longer than padding.
export const GPU_BATCH = { batchSizes: [25], batchDelayMs: 10, tunesShapes: true };

/**
 * Loads the model on `device`. TensorRT builds its engines at every start, which takes minutes. onnxruntime-node can't
 * turn on TensorRT's cache: `session_options_helper.cc` sets only the device, and so the provider ignores
 * `ORT_TENSORRT_*` too.
 * @param isCudaInstalled whether `auto` should try CUDA
 * @throws InferenceError when the model can't be loaded on the device; `auto` falls back to the CPU first
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
  if (device === 'openvino') {
    const use = await startOpenvino(options);
    await options.model.pool.close();
    return use;
  }
  // TensorRT's `TopK` needs a constant count, and the graph that chooses candidates computes it.
  const choice = await choose(options, device === 'cuda');
  const providers = device === 'tensorrt' ? ['tensorrt', 'cuda', 'cpu'] : ['cuda', 'cpu'];
  try {
    const pool = await InferencePool.start({ ...choice, providers }, GPU_THREADS);
    await options.model.pool.close();
    return readyAs({ device, precision: 'f32', pool, ...GPU_BATCH }, options, choice);
  } catch (cause) {
    throw new InferenceError(`device ${device} is not available: ${(cause as Error).message}`, { cause });
  }
}

async function startOnnxruntime(options: StartOptions): Promise<DeviceUse> {
  const choice = await choose(options, false);
  const { model, cpuThreads } = options;
  const shape = cpuShape(model.weights, cpuThreads);
  let { pool } = model;
  if (choice.onnx !== model.onnx || pool.size !== shape.size) {
    await pool.close();
    pool = await InferencePool.start({ ...choice, ...shape, providers: ['cpu'] }, shape.size);
  }
  return readyAs({ device: 'cpu', precision: 'f32', pool, ...CPU_BATCH }, options, choice);
}

async function startOpenvino(options: StartOptions): Promise<DeviceUse> {
  const { cpuThreads, precision, note, model } = options;
  const choice = await choose(options, false);
  const { size, threads } = cpuShape(model.weights, cpuThreads);
  try {
    const openvino = { libraries: await openvinoLibraries(note), precision };
    const pool = await InferencePool.start({ ...choice, threads, providers: [], openvino }, size);
    return readyAs({ device: 'openvino', precision, pool, ...CPU_BATCH }, options, choice);
  } catch (cause) {
    throw new InferenceError(`device openvino is not available: ${(cause as Error).message}`, { cause });
  }
}

/**
 * Uses the faster of onnxruntime and OpenVINO. In f32 both are about as fast. OpenVINO has to be downloaded: it is
 * tried only if it is in the cache already, or if bf16 is allowed.
 */
async function startOnCpu(options: StartOptions, fallback: string): Promise<DeviceUse> {
  const onnxruntime = await startOnnxruntime(options);
  if (options.precision !== 'bf16' && !isOpenvinoCached()) return { ...onnxruntime, fallback };
  let openvino: DeviceUse | undefined;
  try {
    openvino = await startOpenvino(options);
    const [taken, other] = await fasterRuntime(onnxruntime, openvino, options);
    await other.pool.close();
    return { ...taken, fallback };
  } catch (error) {
    await openvino?.pool.close();
    return { ...onnxruntime, fallback: `${fallback}; ${oneLine((error as Error).message)}` };
  }
}

/** The model's file, and how many candidates its graph chooses. */
interface ChosenGraph extends Pick<WorkerSetup, 'onnx'> {
  selects?: number;
}

async function choose({ model, candidates, select }: StartOptions, byDefault: boolean): Promise<ChosenGraph> {
  const isInside = select === 'auto' ? byDefault : select === 'graph';
  const onnx = isInside ? await model.withSelection(candidates) : undefined;
  return onnx ? { onnx, selects: candidates } : { onnx: model.onnx };
}

function readyAs(use: DeviceUse, options: StartOptions, { selects }: ChosenGraph): DeviceUse {
  const { model, suppression, classThresholds } = options;
  const { head, metadata } = model;
  const reading = { head, suppression, classThresholds, keypoints: metadata.keypoints };
  use.pool.readAs({ ...reading, ...(selects && { selects }) });
  return model.isQuantised ? { ...use, precision: 'int8' } : use;
}

/** Whether `device` probably is a GPU; known for certain only once it has been tried. */
export function isOnGpu(device: Device): boolean {
  return device === 'cuda' || device === 'tensorrt' || (device === 'auto' && hasCuda());
}

const oneLine = (text: string) => text.replace(/\s+/g, ' ').trim();

/** Whether onnxruntime's CUDA provider is installed; asking the runtime itself for it would print an error. */
function hasCuda(): boolean {
  return existsSync(join(onnxruntimeFolder(), 'libonnxruntime_providers_cuda.so'));
}

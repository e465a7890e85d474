import type { InferencePool, Runtime, WorkerSetup } from '../src/inference-pool.ts';
import { createOnnxruntimeSession } from '../src/onnxruntime-session.ts';

/**
 * Stands in for the module `inference-pool.ts`: loads and runs a model on the calling thread, for tests of what its outputs
 * mean. A thread for each model takes most of their time, and is tested where pictures are detected.
 */
export function onSameThread(original: typeof import('../src/inference-pool.ts')) {
  const start = async ({ onnx, providers, threads }: WorkerSetup): Promise<InferencePool> => {
    const session = await createOnnxruntimeSession(onnx, providers, threads).catch((cause) => {
      throw new original.InferenceError(`the runtime can't load the model: ${cause.message}`, { cause });
    });
    const pool: Pick<Runtime, 'ask' | 'close'> = {
      ask: (frames, dims) =>
        session.run(frames, dims).catch((cause) => {
          throw new original.InferenceError(cause.message);
        }),
      close: async () => {},
    };
    return pool as InferencePool;
  };
  return { ...original, InferencePool: { start } };
}

import { InferenceSession, Tensor } from 'onnxruntime-node';
import { FRAMES_INPUT } from './onnx/uint8-input.ts';
import type { Session } from './session.ts';

/**
 * Loads a model for the calling thread: onnxruntime-node runs it there.
 * @param providers onnxruntime's execution providers, the preferred one first
 */
export async function createOnnxruntimeSession(onnx: Uint8Array, providers: string[]): Promise<Session> {
  const session = await InferenceSession.create(onnx, {
    executionProviders: providers,
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    logSeverityLevel: 3,
  });
  return {
    async run(frames, dims) {
      const results = await session.run({ [FRAMES_INPUT]: new Tensor('uint8', frames, dims) });
      return session.outputNames.map((name) => {
        const value = results[name] as Tensor;
        return { name, dims: value.dims, data: value.data as Float32Array };
      });
    },
  };
}

import { InferenceSession, Tensor } from 'onnxruntime-node';
import { FRAMES_INPUT, type Session } from './session.ts';

/**
 * Loads a model for the calling thread: onnxruntime-node runs it there.
 * @param providers onnxruntime's execution providers, the preferred one first
 * @param threads number of threads for one run
 */
export async function createOnnxruntimeSession(
  path: string,
  providers: string[],
  threads = 1,
): Promise<Session> {
  const session = await InferenceSession.create(path, {
    executionProviders: providers,
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    logSeverityLevel: 3,
    // Spinning threads would take CPU time from the threads that decode pictures.
    extra: { session: { intra_op: { allow_spinning: '0' } } },
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

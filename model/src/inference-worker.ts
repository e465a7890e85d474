import { parentPort, workerData } from 'node:worker_threads';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { type Candidate, heads, isSound, type OutputTensor, strongest, suppress } from './heads/index.ts';
import { END, type WorkerJob, type WorkerReply, type WorkerSetup } from './inference-pool.ts';
import { FRAMES_INPUT } from './onnx/uint8-input.ts';

// onnxruntime-node runs a session on the thread that calls it: hence a thread of its own, so that HTTP and JPEG
// decoding go on meanwhile.
const setup: WorkerSetup = workerData;
const head = heads[setup.head];
const session = await InferenceSession.create(setup.onnx, {
  executionProviders: setup.providers,
  intraOpNumThreads: 1,
  interOpNumThreads: 1,
  logSeverityLevel: 3,
});
reply({ ready: true });
parentPort?.on('message', (job: WorkerJob | typeof END) => {
  if (job === END) parentPort?.close();
  else void work(job);
});

async function work(job: WorkerJob): Promise<void> {
  const started = performance.now();
  try {
    const frames = new Tensor(
      'uint8',
      job.frames.subarray(
        0,
        job.dims.reduce((a, b) => a * b),
      ),
      job.dims,
    );
    const outputs = toOutputs(await session.run({ [FRAMES_INPUT]: frames }));
    const inferred = performance.now();
    const candidates = job.thresholds.map((threshold, image) => decode(outputs, image, threshold, job.dims));
    const milliseconds = { inference: inferred - started, decoding: performance.now() - inferred };
    reply({ id: job.id, candidates, frames: job.frames, milliseconds });
  } catch (error) {
    reply({ id: job.id, error: String(error instanceof Error ? error.message : error), frames: job.frames });
  }
}

function decode(
  outputs: OutputTensor[],
  image: number,
  threshold: number,
  dims: readonly number[],
): Candidate[] {
  const [, inputHeight = 0, inputWidth = 0] = dims;
  const candidates = head.decode(outputs, image, { threshold, inputWidth, inputHeight }).filter(isSound);
  return (head.needsSuppression ? suppress : strongest)(candidates, setup.suppression);
}

function toOutputs(results: InferenceSession.OnnxValueMapType): OutputTensor[] {
  return session.outputNames.map((name) => {
    const value = results[name] as Tensor;
    return { name, dims: value.dims, data: value.data as Float32Array };
  });
}

function reply(message: WorkerReply): void {
  // The frames' memory goes back with the answer, to be filled again.
  parentPort?.postMessage(message, 'frames' in message ? [message.frames.buffer as ArrayBuffer] : []);
}

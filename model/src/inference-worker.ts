import { parentPort, workerData } from 'node:worker_threads';
import {
  type Candidate,
  decodeSelected,
  type Head,
  heads,
  isSound,
  type OutputTensor,
  strongest,
  suppress,
} from './heads/index.ts';
import { END, type WorkerJob, type WorkerReply, type WorkerSetup } from './inference-pool.ts';
import type { Session } from './session.ts';

// A runtime runs a session on the thread that calls it: hence a thread of its own, so that HTTP and JPEG decoding go on
// meanwhile.
const setup: WorkerSetup = workerData;
const head: Head = heads[setup.head];
const session = await createSession(setup);
reply({ ready: true });
parentPort?.on('message', (job: WorkerJob | typeof END) => {
  if (job === END) parentPort?.close();
  else void work(job);
});

async function work(job: WorkerJob): Promise<void> {
  const started = performance.now();
  try {
    const values = job.dims.reduce((a, b) => a * b);
    const outputs = await session.run(job.frames.subarray(0, values), job.dims);
    const inferred = performance.now();
    const cut = { count: 0 };
    const candidates = job.thresholds.map((threshold, image) =>
      decode(outputs, image, threshold, job.dims, cut),
    );
    const milliseconds = { inference: inferred - started, decoding: performance.now() - inferred };
    reply({ id: job.id, candidates, cut: cut.count, frames: job.frames, milliseconds });
  } catch (error) {
    reply({ id: job.id, error: String(error instanceof Error ? error.message : error), frames: job.frames });
  }
}

function decode(
  outputs: OutputTensor[],
  image: number,
  threshold: number,
  dims: readonly number[],
  cut: { count: number },
): Candidate[] {
  const [, inputHeight = 0, inputWidth = 0] = dims;
  const options = { threshold, inputWidth, inputHeight };
  const [first] = outputs;
  let candidates: Candidate[];
  if (setup.selects && first && head.anchors) {
    const selected = decodeSelected(first, image, head.anchors, options, setup.selects);
    if (selected.isCut) cut.count++;
    ({ candidates } = selected);
  } else {
    candidates = head.decode(outputs, image, options);
  }
  return (head.needsSuppression ? suppress : strongest)(candidates.filter(isSound), setup.suppression);
}

/** Each runtime is loaded where it is used alone. */
async function createSession({ onnx, providers, openvino }: WorkerSetup): Promise<Session> {
  if (openvino) {
    const { createOpenvinoSession } = await import('./openvino/session.ts');
    return createOpenvinoSession({ onnx, ...openvino });
  }
  const { createOnnxruntimeSession } = await import('./onnxruntime-session.ts');
  return createOnnxruntimeSession(onnx, providers);
}

function reply(message: WorkerReply): void {
  // The frames' memory goes back with the answer, to be filled again.
  parentPort?.postMessage(message, 'frames' in message ? [message.frames.buffer as ArrayBuffer] : []);
}

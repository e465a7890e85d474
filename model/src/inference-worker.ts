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
import {
  END,
  type Reading,
  type WorkerJob,
  type WorkerMessage,
  type WorkerReply,
  type WorkerSetup,
} from './inference-pool.ts';
import type { Session } from './session.ts';

// A runtime runs a session on the calling thread. Each session has a worker thread, so that the main thread stays free
// for HTTP and JPEG decoding.
const setup: WorkerSetup = workerData;
let reading: Reading | undefined;
/** The last run, if it was a raw one before {@link reading} was set: a warm-up need not repeat it. */
let probed: { dims: string; outputs: OutputTensor[] } | undefined;
const session = await createSession(setup);
reply({ ready: true });
parentPort?.on('message', (message: WorkerMessage) => {
  if (message === END) parentPort?.close();
  else if ('head' in message) reading = message;
  else void work(message);
});

async function work(job: WorkerJob): Promise<void> {
  const started = performance.now();
  try {
    const values = job.dims.reduce((a, b) => a * b);
    const known = job.isWarmUp && probed?.dims === String(job.dims) ? probed.outputs : undefined;
    probed = undefined;
    const outputs = known ?? (await session.run(job.frames.subarray(0, values), job.dims));
    if (job.raw && !reading) probed = { dims: String(job.dims), outputs };
    const inferred = performance.now();
    const cut = { count: 0 };
    const how = job.raw ? undefined : reading;
    if (job.raw && reading?.selects)
      throw new Error("the model's graph chooses candidates: use --select host to get its own outputs");
    const candidates = how
      ? job.thresholds.map((threshold, image) =>
          finish(decode(how, outputs, image, threshold, job.dims, cut), how, outputs, image, job),
        )
      : [];
    const milliseconds = { inference: inferred - started, decoding: performance.now() - inferred };
    const result = { candidates, cut: cut.count, frames: job.frames, milliseconds };
    reply({ id: job.id, ...result, ...(how ? {} : { outputs }) });
  } catch (error) {
    reply({ id: job.id, error: String(error instanceof Error ? error.message : error), frames: job.frames });
  }
}

function decode(
  { head: name, selects, suppression, keypoints, classThresholds = new Map() }: Reading,
  outputs: OutputTensor[],
  image: number,
  threshold: number,
  dims: readonly number[],
  cut: { count: number },
): Candidate[] {
  const [, inputHeight = 0, inputWidth = 0] = dims;
  const least = Math.min(threshold, ...classThresholds.values());
  const options = { threshold: least, inputWidth, inputHeight, keypoints };
  const head: Head = heads[name];
  const [first] = outputs;
  let candidates: Candidate[];
  if (selects && first && head.anchors) {
    const selected = decodeSelected(first, image, head.anchors, options, selects);
    if (selected.isCut) cut.count++;
    ({ candidates } = selected);
  } else {
    candidates = head.decode(outputs, image, options);
  }
  // Before suppression: what is left out must neither hide another object nor take its place.
  const wanted = candidates.filter(
    (one) => isSound(one) && one.score >= (classThresholds.get(one.classId) ?? threshold),
  );
  return (head.needsSuppression ? suppress : strongest)(wanted, suppression);
}

/** Adds outlines or key points to the kept objects. With many objects each gets fewer points: a record is limited. */
function finish(
  kept: Candidate[],
  { head, keypoints }: Reading,
  outputs: OutputTensor[],
  image: number,
  { dims, scales = [] }: WorkerJob,
): Candidate[] {
  const details: Head['finish'] = (heads[head] as Head).finish;
  if (!details) return kept;
  const [, inputHeight, inputWidth] = dims;
  const maxPoints = Math.min(MAX_OUTLINE, Math.floor(MAX_POINTS / kept.length));
  const options = { inputWidth, inputHeight, keypoints, scale: scales[image] ?? 1, maxPoints };
  // Objects with so many key points that a record can't carry them are left out.
  return kept
    .slice(0, keypoints ? Math.floor(MAX_POINTS / keypoints[0]) : kept.length)
    .flatMap((one) => details(one, outputs, image, options) ?? []);
}

/** Most points of one outline, and of all in a picture. */
const MAX_OUTLINE = 500;
const MAX_POINTS = 10_000;

/** Loads only the runtime that is used. */
async function createSession({ onnx, providers, openvino, threads = 1 }: WorkerSetup): Promise<Session> {
  if (openvino) {
    const { createOpenvinoSession } = await import('./openvino/session.ts');
    return createOpenvinoSession({ onnx, threads, ...openvino });
  }
  const { createOnnxruntimeSession } = await import('./onnxruntime-session.ts');
  return createOnnxruntimeSession(onnx, providers, threads);
}

function reply(message: WorkerReply): void {
  // The reply returns the memory of the frames, so that it can be used again.
  parentPort?.postMessage(message, 'frames' in message ? [message.frames.buffer as ArrayBuffer] : []);
}

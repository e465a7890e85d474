import './no-telemetry.ts';
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { Candidate, HeadName, KeypointShape, OutputTensor, SuppressionOptions } from './heads/index.ts';
import type { OpenvinoOptions } from './openvino/session.ts';

export interface WorkerSetup {
  /** Path of the model, read before the threads are ready. */
  onnx: string;
  /** Number of runtime threads that each worker thread uses; default 1. */
  threads?: number;
  /** onnxruntime's execution providers, the preferred one first. */
  providers: string[];
  /** Runs the model with OpenVINO instead of onnxruntime. */
  openvino?: Pick<OpenvinoOptions, 'libraries' | 'precision'>;
}

/** How a model's outputs become objects. */
export interface Reading {
  head: HeadName;
  suppression: SuppressionOptions;
  /** Thresholds by class id, 0..1. They replace that of the frame. */
  classThresholds?: ReadonlyMap<number, number> | undefined;
  /** Shape of a pose model's key points. */
  keypoints?: KeypointShape | undefined;
  /** How many candidates the model's graph chooses. Without it, the graph returns its own outputs. */
  selects?: number;
}

export interface WorkerJob {
  id: number;
  /** uint8 `[N, H, W, 3]`; may be longer than `dims` say. */
  frames: Uint8Array;
  dims: readonly [number, number, number, 3];
  /** One for each frame, 0..1. */
  thresholds: readonly number[];
  /** For each frame, pixels of its picture for each pixel of the input; default 1. */
  scales?: readonly number[];
  /** Whether the raw outputs are returned instead of candidates. */
  raw?: boolean;
  /** Whether the job only tunes the thread to this shape. The outputs of a raw job of this shape then suffice. */
  isWarmUp?: boolean;
}

export type WorkerMessage = WorkerJob | Reading | typeof END;

export type WorkerReply =
  | { ready: true }
  | ({ id: number } & InferenceResult)
  | { id: number; error: string; frames: Uint8Array };

export interface InferenceResult {
  /** One list for each frame, in pixels of the model's input. */
  candidates: Candidate[][];
  /** Number of frames that may have had more candidates than the graph returns. */
  cut: number;
  /** The memory of the frames, to be used again. */
  frames: Uint8Array;
  milliseconds: { inference: number; decoding: number };
  outputs?: OutputTensor[];
}

/** The runtime refused a batch, or its thread ended. */
export class InferenceError extends Error {
  override readonly name = 'InferenceError';
}

/** What runs batches on several threads. */
export type Runtime = Pick<InferencePool, 'size' | 'isHealthy' | 'run' | 'ask' | 'runOn' | 'close'>;

interface Member {
  worker: Worker;
  /** Number of running {@link InferencePool.runOn} calls on this thread. */
  reserved: number;
  /** Dims of its last batch. */
  shape?: string;
  pending: Map<number, PromiseWithResolvers<InferenceResult>>;
}

/** Load of a reserved thread: more than any number of waiting batches. */
const RESERVED = 1_000_000;
/** Batches that would rather wait than that another thread of a GPU changes its shape. */
const CHANGE = 2;

/**
 * The thread with the fewest waiting batches.
 * @param shape of the batch, where a thread takes long to change it
 */
export function threadFor<One extends Pick<Member, 'reserved' | 'shape'> & { pending: { size: number } }>(
  members: readonly One[],
  shape?: string,
): One | undefined {
  const load = (one: One) =>
    one.pending.size +
    (one.reserved > 0 ? RESERVED : 0) +
    (shape === undefined || one.shape === shape ? 0 : CHANGE);
  return members.toSorted((a, b) => load(a) - load(b))[0];
}

/** Worker threads, each with a session of its own. */
export class InferencePool {
  readonly #members: Member[];
  readonly #keepsShape: boolean;
  #nextId = 0;
  #isClosing = false;

  private constructor(members: Member[], keepsShape: boolean) {
    this.#members = members;
    this.#keepsShape = keepsShape;
    for (const member of members) this.#listen(member);
  }

  /**
   * Starts `size` threads and waits until each has loaded the model.
   * @throws InferenceError when the runtime can't load it
   */
  static async start(setup: WorkerSetup, size: number): Promise<InferencePool> {
    const workers = Array.from(
      { length: size },
      () => new Worker(new URL('./inference-worker.ts', import.meta.url), { workerData: setup }),
    );
    const outcomes = await Promise.allSettled(workers.map(loaded));
    const failure = outcomes.find(({ status }) => status === 'rejected');
    if (failure) {
      await Promise.all(workers.map(end));
      const cause = (failure as PromiseRejectedResult).reason as Error;
      throw new InferenceError(`the runtime can't load the model: ${cause.message}`, { cause });
    }
    const members = workers.map((worker): Member => ({ worker, reserved: 0, pending: new Map() }));
    return new InferencePool(members, setup.providers.includes('cuda'));
  }

  /** Number of threads. */
  get size(): number {
    return this.#members.length;
  }

  /** Sets how the outputs of further batches are decoded. */
  readAs(reading: Reading): void {
    for (const { worker } of this.#members) worker.postMessage(reading);
  }

  /** @returns the raw outputs. @throws InferenceError, also when the graph chooses candidates itself */
  async ask(frames: Uint8Array, dims: WorkerJob['dims']): Promise<OutputTensor[]> {
    const { outputs } = await this.run({ frames, dims, thresholds: [], raw: true });
    return outputs ?? [];
  }

  /** Whether every thread is alive. */
  get isHealthy(): boolean {
    return !this.#isClosing && this.#members.every(({ worker }) => worker.threadId !== -1);
  }

  /**
   * Runs one batch on a thread with few waiting batches. `job.frames` is transferred to the thread.
   * @throws InferenceError
   */
  run(job: Omit<WorkerJob, 'id'>): Promise<InferenceResult> {
    return this.#send(threadFor(this.#members, this.#keepsShape ? String(job.dims) : undefined), job);
  }

  /** Runs batches on one thread, one after another. {@link run} then uses it only if it is the only one. */
  async runOn(thread: number, jobs: Iterable<Omit<WorkerJob, 'id'>>): Promise<void> {
    const member = this.#members[thread];
    if (member) member.reserved++;
    try {
      for (const job of jobs) await this.#send(member, job);
    } finally {
      if (member) member.reserved--;
    }
  }

  #send(member: Member | undefined, job: Omit<WorkerJob, 'id'>): Promise<InferenceResult> {
    if (!member || !this.isHealthy)
      return Promise.reject(new InferenceError('the inference threads have ended'));
    const id = this.#nextId++;
    member.shape = String(job.dims);
    const result = Promise.withResolvers<InferenceResult>();
    member.pending.set(id, result);
    member.worker.postMessage({ ...job, id }, [job.frames.buffer as ArrayBuffer]);
    return result.promise;
  }

  /** Ends each thread once its batch is done. */
  async close(): Promise<void> {
    this.#isClosing = true;
    await Promise.all(this.#members.map(({ worker }) => end(worker)));
  }

  #listen({ worker, pending }: Member): void {
    worker.on('message', (reply: Exclude<WorkerReply, { ready: true }>) => {
      const result = pending.get(reply.id);
      pending.delete(reply.id);
      if ('error' in reply) result?.reject(new InferenceError(reply.error));
      else result?.resolve(reply);
    });
    const fail = (reason: string) => {
      for (const { reject } of pending.values()) reject(new InferenceError(reason));
      pending.clear();
    };
    worker.on('error', (error) => fail(`an inference thread failed: ${error.message}`));
    worker.on('exit', (code) => fail(`an inference thread ended with code ${code}`));
  }
}

/** Bytes of weights from which all threads share one session. Sharing costs a few per cent of the speed. */
const LARGE_WEIGHTS = 64_000_000;

/** Number of sessions on a CPU for a model of this many bytes, and number of threads for each session. */
export function cpuShape(weights: number, cpuThreads: number) {
  const cores = cpuThreads || availableParallelism();
  return weights < LARGE_WEIGHTS ? { size: cores, threads: 1 } : { size: 1, threads: cores };
}

/** Message that ends a thread. `terminate()` during a call of onnxruntime would abort the whole process. */
export const END = 'end';

async function end(worker: Worker): Promise<void> {
  if (worker.threadId === -1) return;
  worker.postMessage(END);
  await once(worker, 'exit');
}

function loaded(worker: Worker): Promise<void> {
  return new Promise((resolve, reject) => {
    worker.once('message', () => {
      worker.off('error', reject);
      resolve();
    });
    worker.once('error', reject);
  });
}

import { FairQueue } from './fair-queue.ts';
import type { OutputTensor } from './heads/index.ts';
import type { Runtime, WorkerJob } from './inference-pool.ts';
import { untilEnd } from './until-end.ts';

/** Frames in the size of the model's input, for which the raw outputs are wanted. */
export interface TensorRequest extends Pick<WorkerJob, 'dims'> {
  /** uint8 `[N, H, W, 3]`; transferred to the runtime. */
  frames: Uint8Array;
  /** Id of the client: clients are served in turn. */
  client: string;
  /** Ends the request. If it has not begun, it is dropped. */
  signal: AbortSignal;
}

interface Job extends TensorRequest {
  result: PromiseWithResolvers<OutputTensor[]>;
}

/**
 * Queues requests for a model's raw outputs and runs one for each thread. Further requests wait here, not at the
 * thread: a thread could not drop a request whose client has disconnected.
 */
export class TensorQueue {
  readonly #runtime: Pick<Runtime, 'ask' | 'size'>;
  readonly #queue = new FairQueue<Job>();
  readonly #underWay = new Set<Promise<unknown>>();
  #waiting = 0;

  constructor(runtime: Pick<Runtime, 'ask' | 'size'>) {
    this.#runtime = runtime;
  }

  /** Pictures that have not begun yet. */
  get waiting(): number {
    return this.#waiting;
  }

  /** @throws InferenceError, `signal.reason` once the signal ends the request */
  ask(request: TensorRequest): Promise<OutputTensor[]> {
    const { client, signal, dims } = request;
    const result = Promise.withResolvers<OutputTensor[]>();
    this.#queue.push(client, { ...request, result });
    this.#waiting += dims[0];
    this.#startNext();
    return untilEnd(result.promise, signal, () => {
      const left = this.#queue.remove(client, (job) => job.result === result);
      if (left.length > 0) this.#waiting -= dims[0];
    });
  }

  /** Waits until no request is left. */
  async idle(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.allSettled(this.#underWay);
  }

  #startNext(): void {
    while (this.#underWay.size < this.#runtime.size) {
      const job = this.#queue.shift();
      if (!job) return;
      this.#waiting -= job.dims[0];
      const answer = this.#runtime.ask(job.frames, job.dims);
      const done = answer.then(job.result.resolve, job.result.reject).finally(() => {
        this.#underWay.delete(done);
        this.#startNext();
      });
      this.#underWay.add(done);
    }
  }
}

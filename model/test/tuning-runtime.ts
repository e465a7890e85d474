import { setTimeout as sleep } from 'node:timers/promises';
import type { InferenceResult, Runtime, WorkerJob } from '../src/inference-pool.ts';

type Job = Omit<WorkerJob, 'id'>;

/** A runtime that takes long for each shape that a thread of it sees for the first time, as cuDNN does, and sees nothing. */
export class TuningRuntime implements Runtime {
  readonly size = 2;
  readonly isHealthy = true;
  /** Shapes tuned for, each with its thread and with whether a picture waited for it. */
  readonly tunings: { thread: number; shape: string; isAwaited: boolean }[] = [];
  readonly #tuningMs: number;
  readonly #reserved = [0, 0];
  readonly #last: Promise<unknown>[] = [Promise.resolve(), Promise.resolve()];
  /** Batches of another shape than the thread's last one, for which pictures waited. */
  changes = 0;
  readonly #shapes: string[] = [];
  #next = 0;
  #going = Promise.withResolvers<void>();
  /** Frames of pictures that have begun. */
  frames = 0;

  constructor(tuningMs: number) {
    this.#tuningMs = tuningMs;
    this.#going.resolve();
  }

  /** No work begins until {@link resume}. */
  pause(): void {
    this.#going = Promise.withResolvers();
  }

  resume(): void {
    this.#going.resolve();
  }

  run(job: Job): Promise<InferenceResult> {
    const free = [0, 1].filter((thread) => this.#reserved[thread] === 0);
    const thread = free[this.#next++ % free.length] ?? 0;
    return this.#work(thread, job, true);
  }

  async runOn(thread: number, jobs: Iterable<Job>): Promise<void> {
    this.#reserved[thread] = (this.#reserved[thread] ?? 0) + 1;
    for (const job of jobs) await this.#work(thread, job, false);
    this.#reserved[thread]--;
  }

  async close(): Promise<void> {}

  async ask(): Promise<[]> {
    return [];
  }

  /** One job after another, on each thread. */
  #work(thread: number, job: Job, isAwaited: boolean): Promise<InferenceResult> {
    const done = (this.#last[thread] ?? Promise.resolve()).then(() => this.#infer(thread, job, isAwaited));
    this.#last[thread] = done;
    return done;
  }

  async #infer(
    thread: number,
    { dims, frames, thresholds }: Job,
    isAwaited: boolean,
  ): Promise<InferenceResult> {
    await this.#going.promise;
    if (isAwaited) this.frames += dims[0];
    const shape = dims.join('x');
    if (isAwaited && this.#shapes[thread] !== shape) this.changes++;
    this.#shapes[thread] = shape;
    if (!this.tunings.some((tuning) => tuning.thread === thread && tuning.shape === shape)) {
      this.tunings.push({ thread, shape, isAwaited });
      await sleep(this.#tuningMs);
    }
    await sleep(1);
    return {
      candidates: thresholds.map(() => []),
      cut: 0,
      frames,
      milliseconds: { inference: 1, decoding: 0 },
    };
  }
}

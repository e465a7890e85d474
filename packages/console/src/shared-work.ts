/** The queue is full. */
export class BusyError extends Error {
  override readonly name = 'BusyError';
}

interface Job<Value> {
  work: (signal: AbortSignal) => Promise<Value>;
  stop: AbortController;
  /** Number of callers that wait for it. */
  waiting: number;
  done: PromiseWithResolvers<Value>;
}

/**
 * Costly work. Callers that ask for the same work at the same time share it, and only a few jobs run at once. A job
 * without callers leaves the queue, or is aborted.
 */
export class SharedWork<Value> {
  /** Jobs that run or wait, by name. */
  readonly #jobs = new Map<string, Job<Value>>();
  readonly #queue = new Set<string>();
  readonly #concurrency: number;
  readonly #maxQueued: number;
  #running = 0;

  constructor(concurrency: number, maxQueued: number) {
    this.#concurrency = concurrency;
    this.#maxQueued = maxQueued;
  }

  /**
   * @param name the same for the same work
   * @param signal aborts when this caller no longer waits
   * @throws BusyError when the queue is full; the errors of `work`; the signal's reason
   */
  async do(name: string, work: Job<Value>['work'], signal: AbortSignal): Promise<Value> {
    signal.throwIfAborted();
    const job = this.#jobs.get(name) ?? this.#add(name, work);
    job.waiting += 1;
    const gone = Promise.withResolvers<never>();
    const leave = () => gone.reject(signal.reason);
    signal.addEventListener('abort', leave, { once: true });
    try {
      return await Promise.race([job.done.promise, gone.promise]);
    } finally {
      signal.removeEventListener('abort', leave);
      job.waiting -= 1;
      if (job.waiting === 0) this.#drop(name, job);
    }
  }

  #add(name: string, work: Job<Value>['work']): Job<Value> {
    if (this.#queue.size >= this.#maxQueued)
      throw new BusyError('too many clips are asked for: try again in a few seconds');
    const job = { work, stop: new AbortController(), waiting: 0, done: Promise.withResolvers<Value>() };
    job.done.promise.catch(() => {}); // no caller may be left to handle it
    this.#jobs.set(name, job);
    this.#queue.add(name);
    this.#next();
    return job;
  }

  #drop(name: string, job: Job<Value>): void {
    job.stop.abort();
    if (this.#jobs.get(name) !== job) return;
    this.#jobs.delete(name);
    this.#queue.delete(name);
  }

  #next(): void {
    for (const name of this.#queue) {
      if (this.#running >= this.#concurrency) return;
      this.#queue.delete(name);
      const job = this.#jobs.get(name);
      if (job) this.#run(name, job);
    }
  }

  async #run(name: string, job: Job<Value>): Promise<void> {
    this.#running += 1;
    try {
      job.done.resolve(await job.work(job.stop.signal));
    } catch (error) {
      job.done.reject(error);
    }
    this.#running -= 1;
    // Later callers start the work again.
    if (this.#jobs.get(name) === job) this.#jobs.delete(name);
    this.#next();
  }
}

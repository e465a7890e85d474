export class BusyError extends Error {
  override readonly name = 'BusyError';
}

interface Job<Value> {
  work: (signal: AbortSignal) => Promise<Value>;
  stop: AbortController;
  waiting: number;
  done: PromiseWithResolvers<Value>;
}

/**
 * Costly work. Callers that ask for the same work at the same time share it, and only a few jobs run at once. A job
 * without callers leaves the queue, or is aborted.
 * @param concurrency most jobs that run at the same time
 * @returns a function that does work, or waits for the same work of another caller. Its `name` is the same for the same
 * work, and `signal` aborts when this caller no longer waits. It throws BusyError when the queue is full, the errors of
 * `work`, and the signal's reason.
 */
export function singleFlight<Value>(concurrency: number, maxQueued: number) {
  /** Jobs that run or wait, by name. */
  const jobs = new Map<string, Job<Value>>();
  const queue = new Set<string>();
  let running = 0;

  function add(name: string, work: Job<Value>['work']): Job<Value> {
    if (queue.size >= maxQueued)
      throw new BusyError('too much video is asked for: try again in a few seconds');
    const job = { work, stop: new AbortController(), waiting: 0, done: Promise.withResolvers<Value>() };
    job.done.promise.catch(() => {}); // no caller may be left to handle it
    jobs.set(name, job);
    queue.add(name);
    next();
    return job;
  }
  function next(): void {
    for (const name of queue) {
      if (running >= concurrency) return;
      queue.delete(name);
      const job = jobs.get(name);
      if (job) void run(name, job);
    }
  }
  async function run(name: string, job: Job<Value>): Promise<void> {
    running += 1;
    try {
      job.done.resolve(await job.work(job.stop.signal));
    } catch (error) {
      job.done.reject(error);
    }
    running -= 1;
    // Later callers start the work again.
    if (jobs.get(name) === job) jobs.delete(name);
    next();
  }
  return async (name: string, work: Job<Value>['work'], signal: AbortSignal): Promise<Value> => {
    signal.throwIfAborted();
    const job = jobs.get(name) ?? add(name, work);
    job.waiting += 1;
    const gone = Promise.withResolvers<never>();
    const leave = () => gone.reject(signal.reason);
    signal.addEventListener('abort', leave, { once: true });
    try {
      return await Promise.race([job.done.promise, gone.promise]);
    } finally {
      signal.removeEventListener('abort', leave);
      job.waiting -= 1;
      if (job.waiting === 0) {
        job.stop.abort();
        if (jobs.get(name) === job) {
          jobs.delete(name);
          queue.delete(name);
        }
      }
    }
  };
}

import { availableParallelism } from 'node:os';
import { isMarkedAsUntransferable, Worker } from 'node:worker_threads';
import type { resizeLinear } from './resize.ts';

/** Most threads. Scaling takes 2 to 4 ms a picture, as long as decoding. No GPU needs more than these deliver. */
const MAX_THREADS = 8;

type Result = PromiseWithResolvers<Uint8Array>;

let workers: { worker: Worker; pending: Result[] }[] | undefined;

/**
 * {@link resizeLinear} on several worker threads: a GPU needs more pictures a second than one thread can scale.
 * @param rgb is transferred to the thread
 */
export function resizeInWorker(...[rgb, ...rest]: Parameters<typeof resizeLinear>): Promise<Uint8Array> {
  workers ??= Array.from({ length: Math.min(MAX_THREADS, Math.ceil(availableParallelism() / 2)) }, start);
  const [least] = workers.toSorted((a, b) => a.pending.length - b.pending.length);
  const result: Result = Promise.withResolvers();
  least?.pending.push(result);
  const transferred = isMarkedAsUntransferable(rgb.buffer) ? [] : [rgb.buffer as ArrayBuffer];
  least?.worker.postMessage([rgb, ...rest], transferred);
  return result.promise;
}

function start() {
  const worker = new Worker(new URL('./resize-worker.ts', import.meta.url));
  // The worker does not keep the process alive: the request that waits for it does.
  worker.unref();
  const pending: Result[] = [];
  worker.on('message', (scaled: Uint8Array) => pending.shift()?.resolve(scaled));
  worker.on('error', (error) => {
    for (const { reject } of pending.splice(0)) reject(error);
    workers = workers?.filter((one) => one.worker !== worker);
    if (workers?.length === 0) workers = undefined;
  });
  return { worker, pending };
}

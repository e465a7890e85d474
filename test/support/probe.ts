// Requests a URL again and again, on its own thread: the thread that makes the load is too busy to measure.
import { setTimeout as sleep } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';

/** Time between two requests, milliseconds. */
const PROBE_MS = 200;
const { url, ms }: { url: string; ms: number } = workerData;

const took: number[] = [];
for (const until = performance.now() + ms; performance.now() < until; await sleep(PROBE_MS)) {
  const began = performance.now();
  const { status } = await fetch(url);
  if (status !== 200) throw new Error(`${url} answered ${status}`);
  took.push(performance.now() - began);
}
parentPort?.postMessage(took);

import { once } from 'node:events';
import { forceExitAfter, onNpmExit } from '@video-pipeline/lifecycle';

/** Longest shutdown after a signal, milliseconds. */
const END_MS = 20_000;

/** Aborts when the process gets a signal, or its npm has ended. The process then ends soon, with exit code 130. */
export function toldToStop(): AbortSignal {
  const stopping = new AbortController();
  const stop = () => {
    process.exitCode = 130;
    stopping.abort();
    forceExitAfter(END_MS, console.log);
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, stop);
  onNpmExit(stop);
  return stopping.signal;
}

/** Waits for the work, or until the signal aborts. @throws its reason then */
export async function orAborted<Result>(work: Promise<Result>, signal?: AbortSignal): Promise<Result> {
  if (!signal) return work;
  signal.throwIfAborted();
  const aborted = once(signal, 'abort').then(() => {
    throw signal.reason;
  });
  return Promise.race([work, aborted]);
}

import { readFileSync } from 'node:fs';
import { afterAll } from 'vitest';

declare module 'vitest' {
  interface TaskMeta {
    /** Seconds of processor time of a test file: its worker's, and of the processes that the worker has started. */
    cpuSeconds?: number;
  }
}

/** What had been used when this worker was last asked. Each file loads this module anew. */
const worker = globalThis as { cpuSecondsBefore?: number };

// biome-ignore lint/correctness/noEmptyPattern: vitest takes nothing else for a hook that uses no fixture
afterAll(({}, file) => {
  const now = usedSeconds();
  file.meta.cpuSeconds = (file.meta.cpuSeconds ?? 0) + now - (worker.cpuSecondsBefore ?? 0);
  worker.cpuSecondsBefore = now;
});

function usedSeconds(): number {
  try {
    // Those that have ended count as its own.
    const living = readFileSync(`/proc/self/task/${process.pid}/children`, 'latin1').match(/\d+/g) ?? [];
    return ['self', ...living].reduce((sum, pid) => sum + secondsOf(pid), 0);
  } catch {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  }
}

/** Of the process, and of its children that it has waited for. */
function secondsOf(pid: string): number {
  // Hundredths of seconds, as user and as system, of both.
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ').at(-1)?.split(' ') ?? [];
  return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0) / 100;
}

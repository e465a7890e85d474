import { readFileSync } from 'node:fs';
import { ps, statOf } from '../supervisor/processes.ts';

/** CPU time and memory of a service since its first start, over all restarts. */
export interface Usage {
  cpu_seconds: number;
  /** The largest resident set of any one of its processes. */
  peak_rss_bytes: number;
}

interface Tracked {
  pid: number;
  /** CPU seconds of its earlier processes, and of this one. */
  earlier: number;
  current: number;
  peak: number;
}

/** Samples CPU time and memory of processes by name. A process that has ended keeps its last sample. */
export class UsageMeter {
  readonly #tracked = new Map<string, Tracked>();

  track(name: string, pid: number): void {
    const before = this.#tracked.get(name);
    this.#tracked.set(name, {
      pid,
      earlier: before ? before.earlier + before.current : 0,
      current: 0,
      peak: before?.peak ?? 0,
    });
  }

  async sample(): Promise<void> {
    await Promise.all(
      [...this.#tracked.values()].map(async (tracked) => {
        const usage = await usageOf(tracked.pid);
        if (!usage) return;
        tracked.current = usage.cpu_seconds;
        tracked.peak = Math.max(tracked.peak, usage.peak_rss_bytes);
      }),
    );
  }

  report(): Record<string, Usage> {
    return Object.fromEntries(
      [...this.#tracked].map(([name, { earlier, current, peak }]) => [
        name,
        { cpu_seconds: Math.round((earlier + current) * 100) / 100, peak_rss_bytes: peak },
      ]),
    );
  }
}

/** CPU time and memory of a process; `undefined` when it has ended. */
export async function usageOf(pid: number): Promise<Usage | undefined> {
  try {
    return process.platform === 'linux' ? fromProc(pid) : await fromPs(pid);
  } catch {
    return undefined;
  }
}

/** Clock ticks a second in /proc, the same on every Linux (`USER_HZ`). */
const USER_HZ = 100;

function fromProc(pid: number): Usage {
  const [fields, status] = [statOf(pid), readFileSync(`/proc/${pid}/status`, 'utf8')];
  const peakKib = Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1] ?? 0);
  // utime and stime are fields 14 and 15.
  return { cpu_seconds: (Number(fields[11]) + Number(fields[12])) / USER_HZ, peak_rss_bytes: peakKib * 1024 };
}

async function fromPs(pid: number): Promise<Usage> {
  const [time = '', rss] = (await ps(pid, 'time=,rss=')).split(/\s+/);
  // [[hours:]minutes:]seconds
  const cpu_seconds = time.split(':').reduce((sum, part) => sum * 60 + Number(part), 0);
  return { cpu_seconds, peak_rss_bytes: Number(rss) * 1024 };
}

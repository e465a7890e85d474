import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

/** A process of ours under measurement. */
export interface Measured {
  name: string;
  pid: number;
  /** What it serves, from its ready message. */
  url: string;
  /** Calls back for each line of its stdout. */
  onLine(callback: (line: string) => void): void;
  stop(): Promise<void>;
}

/** Starts `node <args>` and waits until it reports ready over its IPC channel. */
export async function start(
  name: string,
  args: string[],
  env: Record<string, string> = {},
): Promise<Measured> {
  const child = spawn(process.execPath, args, {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  });
  const lines = createInterface({ input: child.stdout ?? process.stdin });
  const last: string[] = [];
  lines.on('line', (line) => void last.splice(0, last.length > 3 ? 1 : 0, line));
  const url = await ready(child).catch((error) => {
    throw new Error(`${name}: ${error.message} ${last.join(' | ')}`);
  });
  return {
    name,
    pid: child.pid ?? Number.NaN,
    url,
    onLine: (callback) => void lines.on('line', callback),
    stop: () =>
      new Promise((resolve) => {
        if (child.exitCode !== null || child.signalCode !== null) return resolve();
        child.once('exit', () => resolve());
        child.kill('SIGTERM');
      }),
  };
}

function ready(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    child.on('message', (message: { ready?: { url?: string } }) => {
      if (message.ready) resolve(message.ready.url ?? '');
    });
    child.once('exit', (code) => reject(new Error(`ended with ${code} before it was ready`)));
  });
}

/** Clock ticks a second in /proc; 100 on every Linux that Node runs on. */
const TICKS = 100;
const SAMPLE_MS = 100;

/** CPU milliseconds a process has used so far, all its threads, user and system; `undefined` once it is gone. */
export function cpuMs(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return ((Number(fields[11]) + Number(fields[12])) * 1000) / TICKS;
  } catch {
    return undefined;
  }
}

/** CPU milliseconds of a process and of all that it started and that still run. Linux only. */
export function treeCpuMs(pid = 0): number {
  let children = '';
  try {
    children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8');
  } catch {
    // It has just ended.
  }
  const started = children.split(' ').filter(Boolean).map(Number);
  return started.reduce((sum, child) => sum + treeCpuMs(child), cpuMs(pid) ?? 0);
}

/** Meters the CPU time of processes from now on, those that end meanwhile included. Linux only. */
export function meterCpu(processes: readonly { name: string; pid: number }[]) {
  const before = new Map(processes.map(({ name, pid }) => [name, cpuMs(pid) ?? 0]));
  const last = new Map(before);
  const sample = (all: readonly { name: string; pid: number }[]) => {
    for (const { name, pid } of all) last.set(name, cpuMs(pid) ?? last.get(name) ?? 0);
  };
  let metered = [...processes];
  const timer = setInterval(() => sample(metered), SAMPLE_MS);
  return {
    /** A process that began after the meter: all its time counts. */
    add(process: { name: string; pid: number }) {
      metered = [...metered, process];
    },
    /** @returns milliseconds by process */
    stop(): Record<string, number> {
      clearInterval(timer);
      sample(metered);
      return Object.fromEntries([...last].map(([name, ms]) => [name, ms - (before.get(name) ?? 0)]));
    },
  };
}

/** What a process holds now; nothing once it is gone. Linux only. */
export function held(pid: number): { residentMiB: number; handles: number } {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    const residentMiB = Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) / 1024;
    return { residentMiB, handles: readdirSync(`/proc/${pid}/fd`).length };
  } catch {
    return { residentMiB: 0, handles: 0 };
  }
}

/** Of an even number the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return mean(sorted.slice(Math.ceil(middle) - 1, Math.floor(middle) + 1));
}

/** Medians of the first and of the last third, of no values 0. */
export function thirds(values: readonly number[]): [first: number, last: number] {
  const third = Math.ceil(values.length / 3);
  const medianOf = (some: readonly number[]) => (some.length > 0 ? median(some) : 0);
  return [medianOf(values.slice(0, third)), medianOf(values.slice(-third))];
}

/** What a process's memory may have grown by between two {@link thirds}, MiB, and still be flat. */
const FLAT = { share: 1.1, mebibytes: 16 };

export function staysFlat([first, last]: readonly [number, number]): boolean {
  return last <= first * FLAT.share + FLAT.mebibytes;
}

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Value at `share` (0..1) of the sorted values. */
export function quantile(values: number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

import { execFile } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { signalProcess } from '@video-pipeline/lifecycle';

export { signalProcess };

/** A process of ours that serves, and that ends when this process does, however that went. */
export interface LocalServer {
  pid: number;
  /** Resolves when the process has ended, with its exit code or signal. */
  exited: Promise<string>;
  /** Ends it in order; forces it when that takes too long. */
  stop(): Promise<void>;
  /** Ends it at once, as a crash would. */
  kill(): Promise<void>;
}

/** Something that did not start, with what it said. */
export class StartError extends Error {
  override readonly name = 'StartError';
}

/**
 * Waits until a process that has just begun is ready.
 * @param ready told when nobody waits for it any more
 * @param limits.timeoutMs left out: as long as it takes
 * @param limits.stop ends the wait
 * @returns why it is not; `undefined` once it is
 */
export async function startProblem(
  exited: Promise<string>,
  ready: (over: AbortSignal) => Promise<undefined>,
  { timeoutMs, stop }: { timeoutMs?: number; stop?: AbortSignal | undefined },
): Promise<string | undefined> {
  const over = new AbortController();
  const { signal } = over;
  const stopped = Promise.withResolvers<string>();
  const tell = () => stopped.resolve('was told to stop');
  if (stop?.aborted) tell();
  stop?.addEventListener('abort', tell, { signal });
  try {
    return await Promise.race([
      ready(signal),
      exited.then((how) => `ended (${how})`),
      ...(timeoutMs ? [sleep(timeoutMs, `was not ready after ${timeoutMs / 1000} s`, { signal })] : []),
      stopped.promise,
    ]);
  } finally {
    over.abort();
  }
}

/** Names of the files that a stack keeps under its data folder while it runs. */
export const PID_SUFFIX = '.pid';

/** The process id in a pid file, if it is there. */
export function readPid(pidFile: string): number | undefined {
  if (!existsSync(pidFile)) return undefined;
  return Number.parseInt(readFileSync(pidFile, 'utf8'), 10) || undefined;
}

/** The process that wrote `pidFile`, if it still runs: one that began later has only been given its number. */
export async function ownerOf(pidFile: string): Promise<number | undefined> {
  const pid = readPid(pidFile);
  if (!pid) return undefined;
  const began = await startTime(pid);
  const written = await stat(pidFile).catch(() => undefined);
  return began !== undefined && written && began <= written.mtimeMs + START_SLACK_MS ? pid : undefined;
}

/** Both ways below count whole seconds from a boot time that is rounded too. */
const START_SLACK_MS = 2_000;

/** Epoch milliseconds; `undefined` when it has ended. */
async function startTime(pid: number): Promise<number | undefined> {
  try {
    return process.platform === 'linux' ? await startFromProc(pid) : await startFromPs(pid);
  } catch {
    return undefined;
  }
}

/** As Debian's base has no `ps`. @see https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html */
async function startFromProc(pid: number): Promise<number | undefined> {
  const [own, system] = await Promise.all(
    [`/proc/${pid}/stat`, '/proc/stat'].map((path) => readFile(path, 'utf8')),
  );
  // The command stands in parentheses and may hold anything; state is field 3, the start in ticks since boot field 22.
  const [state = 'Z', ...fields] = own?.slice(own.lastIndexOf(')') + 2).split(' ') ?? [];
  const boot = Number(/^btime (\d+)$/m.exec(system ?? '')?.[1]);
  return state === 'Z' || state === 'X' ? undefined : boot * 1000 + Number(fields[18]) * 10;
}

async function startFromPs(pid: number): Promise<number | undefined> {
  const env = { ...process.env, LC_ALL: 'C' };
  const { stdout } = await promisify(execFile)('ps', ['-o', 'stat=,lstart=', '-p', String(pid)], { env });
  const [, state = 'Z', date = ''] = /^(\S+)\s+(.*)$/.exec(stdout.trim()) ?? [];
  return state.startsWith('Z') ? undefined : Date.parse(date);
}

/** Ends the process that wrote `pidFile`, if it still runs. */
export async function endLeftover(pidFile: string): Promise<void> {
  const pid = await ownerOf(pidFile);
  if (pid) {
    signalProcess(pid, 'SIGTERM');
    for (let tenths = 40; tenths > 0 && signalProcess(pid, 0); tenths--) await sleep(100);
    signalProcess(pid, 'SIGKILL');
    while (await ownerOf(pidFile)) await sleep(20);
  }
  await rm(pidFile, { force: true });
}

/** Ends every process that an earlier run left behind in `runDir`. */
export async function endLeftovers(runDir: string): Promise<void> {
  const names = (await readdir(runDir)).filter((name) => name.endsWith(PID_SUFFIX) && name !== LOCK);
  await Promise.all(names.map((name) => endLeftover(join(runDir, name))));
}

const LOCK = `supervisor${PID_SUFFIX}`;

/** The supervisor that runs on `runDir` now, if one does. */
export function supervisorOf(runDir: string): Promise<number | undefined> {
  return ownerOf(join(runDir, LOCK));
}

/**
 * Makes this process the only supervisor on `runDir`.
 * @returns what gives it up again
 * @throws StartError when another runs
 */
export async function lock(runDir: string): Promise<() => Promise<void>> {
  await mkdir(runDir, { recursive: true });
  const file = join(runDir, LOCK);
  try {
    await writeFile(file, String(process.pid), { flag: 'wx' });
  } catch {
    const owner = await ownerOf(file);
    if (owner && owner !== process.pid) {
      throw new StartError(
        `process ${owner} already runs on ${runDir}: stop it, or choose another folder with --data-dir`,
      );
    }
    await rm(file, { force: true });
    await writeFile(file, String(process.pid), { flag: 'wx' });
  }
  return () => rm(file, { force: true });
}

/** Below the ports that systems give to outgoing connections: one of those could be taken before it is listened on. */
const PORTS = { from: 20_000, to: 32_768 };

/** A port of 127.0.0.1 that nobody listens on at the moment. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(PORTS.from, PORTS.to);
    if (await isFree(port)) return port;
  }
}

/** Whether nobody listens on `port` of 127.0.0.1. */
export async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, '127.0.0.1');
  try {
    await once(server, 'listening');
    return true;
  } catch {
    return false;
  } finally {
    server.close();
  }
}

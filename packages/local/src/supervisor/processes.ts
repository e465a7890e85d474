import { execFile } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { readdir, rm, stat, statfs, utimes, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { makeFolder } from '@video-pipeline/assets/cache';
import { pidSpace, signalProcess } from '@video-pipeline/lifecycle';

export { signalProcess };

/** A server process that ends when this process ends, even by a crash. */
export interface LocalServer {
  pid: number;
  /** Resolves when the process has ended, with its exit code or signal. */
  exited: Promise<string>;
  /** Ends it in order, and by force when that takes too long. */
  stop(): Promise<void>;
  /** Ends it at once, as a crash would. */
  kill(): Promise<void>;
}

/** A process did not start. The message holds its last error. */
export class StartError extends Error {
  override readonly name = 'StartError';
}

/** Waits for all, and then throws the first error: a part that is still starting can't be stopped yet. */
export async function settleAll<T extends readonly unknown[] | []>(work: T) {
  await Promise.allSettled(work);
  return Promise.all(work);
}

const ANOTHER_FOLDER = 'choose another folder with --data-dir';

/** With less room than this, not even a log can say why a server has ended, bytes. */
const NO_ROOM = 64 * 1024;

/** Adds to an error that the disk of `folder` is full, if it is: servers on a full disk end without a message. */
export async function explainFullDisk(error: Error, folder: string): Promise<Error> {
  const disk = await statfs(folder).catch(() => undefined);
  if (!disk || disk.bavail * disk.bsize >= NO_ROOM) return error;
  const remedy = `make room there, or ${ANOTHER_FOLDER}`;
  return new StartError(`${error.message}; the disk of ${folder} is full: ${remedy}`, { cause: error });
}

/** The error for a folder of a stack's data that can't be written. */
export function unwritable(folder: string, cause: Error): StartError {
  return new StartError(`${folder} can't be written (${cause.message}): ${ANOTHER_FOLDER}`, { cause });
}

export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

/**
 * Waits until a process that was just started is ready.
 * @param ready gets a signal that aborts when the wait is over
 * @param limits.timeoutMs left out: no limit
 * @param limits.stop ends the wait
 * @returns why it is not ready; `undefined` once it is
 */
export async function startProblem(
  exited: Promise<string>,
  ready: (over: AbortSignal) => Promise<undefined>,
  { timeoutMs, stop }: { timeoutMs?: number; stop?: AbortSignal | undefined },
): Promise<string | undefined> {
  const over = new AbortController();
  const { signal } = over;
  const stopped = Promise.withResolvers<string>();
  const onStop = () => stopped.resolve('was told to stop');
  if (stop?.aborted) onStop();
  stop?.addEventListener('abort', onStop, { signal });
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

/** The process id in a pid file, if the file exists. */
export function readPid(pidFile: string): number | undefined {
  if (!existsSync(pidFile)) return undefined;
  return Number.parseInt(readFileSync(pidFile, 'utf8'), 10) || undefined;
}

/** Whether a process of another container, or of another machine, wrote the file. */
function isForeign(pidFile: string): boolean {
  const [, space] = existsSync(pidFile) ? readFileSync(pidFile, 'utf8').split(' ') : [];
  return space !== undefined && space !== pidSpace();
}

/** The process that wrote `pidFile`, if it still runs here. A process that started later only reuses the id. */
export async function ownerOf(pidFile: string): Promise<number | undefined> {
  const pid = readPid(pidFile);
  if (!pid || isForeign(pidFile)) return undefined;
  const began = await startTime(pid);
  const written = await stat(pidFile).catch(() => undefined);
  return began !== undefined && written && began <= written.mtimeMs + START_SLACK_MS ? pid : undefined;
}

/** Slack, since both ways below count whole seconds from a rounded boot time. */
const START_SLACK_MS = 2_000;

/** When a process started, epoch milliseconds; `undefined` when it has ended. */
async function startTime(pid: number): Promise<number | undefined> {
  try {
    return process.platform === 'linux' ? startFromProc(pid) : await startFromPs(pid);
  } catch {
    return undefined;
  }
}

function startFromProc(pid: number): number | undefined {
  const [state = 'Z', ...fields] = statOf(pid);
  const boot = Number(/^btime (\d+)$/m.exec(readFileSync('/proc/stat', 'utf8'))?.[1]);
  // The start is field 22, in ticks since boot.
  return state === 'Z' || state === 'X' ? undefined : boot * 1000 + Number(fields[18]) * 10;
}

async function startFromPs(pid: number): Promise<number | undefined> {
  const [, state = 'Z', date = ''] = /^(\S+)\s+(.*)$/.exec(await ps(pid, 'stat=,lstart=')) ?? [];
  return state.startsWith('Z') ? undefined : Date.parse(date);
}

/**
 * Fields of a process in Linux's /proc, from the third on, its state. Debian's base image has no `ps`.
 * @see https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
 */
export function statOf(pid: number): string[] {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The command before it is in parentheses and may hold any character.
  return text.slice(text.lastIndexOf(')') + 2).split(' ');
}

/** Columns of a process on other systems. */
export async function ps(pid: number, columns: string): Promise<string> {
  const env = { ...process.env, LC_ALL: 'C' };
  return (await promisify(execFile)('ps', ['-o', columns, '-p', String(pid)], { env })).stdout.trim();
}

/** Ends the process that wrote `pidFile`, if it still runs. */
export async function endOrphan(pidFile: string): Promise<void> {
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
export async function endOrphans(runDir: string): Promise<void> {
  await Promise.all((await pidFilesIn(runDir)).map((name) => endOrphan(join(runDir, name))));
}

/** Names of the services' pid files. */
async function pidFilesIn(runDir: string): Promise<string[]> {
  return (await readdir(runDir)).filter((name) => name.endsWith('.pid') && name !== LOCK);
}

const LOCK = 'supervisor.pid';
/** How often the lock is touched: from another container, nothing else shows that its process runs. Milliseconds. */
const HEARTBEAT_MS = 1_000;

/** The supervisor that runs on `runDir` now, if there is one. */
export function supervisorOf(runDir: string): Promise<number | undefined> {
  return ownerOf(join(runDir, LOCK));
}

/**
 * Makes this process the only supervisor on `runDir`, which containers may share.
 * @returns a function that releases the lock
 * @throws StartError when another supervisor runs, or the folder can't be written
 */
export async function lock(runDir: string): Promise<() => Promise<void>> {
  const file = join(runDir, LOCK);
  const take = () => writeFile(file, `${process.pid} ${pidSpace()}`, { flag: 'wx' });
  try {
    await makeFolder(runDir);
    await take().catch(async ({ code }) => {
      const owner = code === 'EEXIST' ? await ownerOf(file) : undefined;
      if (owner && owner !== process.pid) {
        throw new StartError(`process ${owner} already runs on ${runDir}: stop it, or ${ANOTHER_FOLDER}`);
      }
      if (code === 'EEXIST' && isForeign(file)) await takeOver(file, runDir);
      await rm(file, { force: true });
      await take();
    });
  } catch (cause) {
    throw cause instanceof StartError ? cause : unwritable(runDir, cause as Error);
  }
  const beat = setInterval(() => void utimes(file, new Date(), new Date()).catch(() => {}), HEARTBEAT_MS);
  beat.unref();
  return () => {
    clearInterval(beat);
    return rm(file, { force: true }).catch(() => {});
  };
}

/** Takes over the folder of a supervisor elsewhere, unless that runs. Its process ids are of other processes here. */
async function takeOver(file: string, runDir: string): Promise<void> {
  const touched = () => statSync(file, { throwIfNoEntry: false })?.mtimeMs; // undefined: it has ended
  const before = touched();
  await sleep(5 * HEARTBEAT_MS);
  if ((touched() ?? before) !== before)
    throw new StartError(
      `another container or machine already runs on ${runDir}: stop it, or ${ANOTHER_FOLDER}`,
    );
  for (const name of await pidFilesIn(runDir)) await rm(join(runDir, name), { force: true });
}

/** Below the ports of outgoing connections: such a port could be taken before a server listens on it. */
const PORTS = { from: 20_000, to: 32_768 };

/** Ports that were given, or tried, before: the servers may not listen yet. */
const given = new Set<number>();

/** A port of 127.0.0.1 that nobody listens on at the moment, another one at each call. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(PORTS.from, PORTS.to);
    if (given.has(port)) continue;
    given.add(port);
    if (await canListen(port)) return port;
  }
}

/** Whether `host` is an address of this machine, and nobody listens on its `port`; 0 is any port. */
export async function canListen(port: number, host = '127.0.0.1'): Promise<boolean> {
  const server = createServer().listen(port, host);
  try {
    await once(server, 'listening');
    return true;
  } catch {
    return false;
  } finally {
    server.close();
  }
}

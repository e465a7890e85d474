import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, open, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** A server of ours in a process of its own, which ends when this process does, however that went. */
export interface LocalServer {
  pid: number;
  /** Resolves when the process has ended, with what it ended with. */
  exited: Promise<string>;
  /** Ends it in order; forces it after 3 s. */
  stop(): Promise<void>;
  /** Ends it at once, as a crash would. */
  kill(): Promise<void>;
}

/** A server that did not start, with what it said. */
export class StartError extends Error {
  override readonly name = 'StartError';
}

const GUARD = join(import.meta.dirname, 'guard.sh');

/**
 * Starts `command` under `guard.sh`. What an earlier run left behind under the same `pidFile` is ended first.
 * @param logFile takes stdout and stderr, beginning anew
 * @throws StartError when the command ends before `isReady` resolves, or that takes over `timeoutMs`
 */
export async function startGuarded(options: {
  name: string;
  command: readonly [string, ...string[]];
  pidFile: string;
  logFile: string;
  isReady: () => Promise<boolean>;
  timeoutMs?: number;
}): Promise<LocalServer> {
  const { name, pidFile, logFile, timeoutMs = 60_000 } = options;
  await mkdir(dirname(logFile), { recursive: true });
  await endStale(pidFile, options.command);
  const log = await open(logFile, 'w');
  const guard = spawn('sh', [GUARD, pidFile, ...options.command], {
    // A group of its own, so that Ctrl-C in the terminal reaches only us.
    detached: true,
    stdio: ['pipe', log.fd, log.fd],
  });
  guard.stdin?.on('error', () => {});
  await log.close();
  const exited = once(guard, 'exit').then(([code, signal]) => String(signal ?? code));
  const server = { exited, ...ends(guard, exited, pidFile) };
  const abandoned = new AbortController();
  try {
    const problem = await Promise.race([
      exited.then((how) => `ended (${how})`),
      ready(options.isReady, abandoned.signal),
      sleep(timeoutMs, `was not ready after ${timeoutMs / 1000} s`, { signal: abandoned.signal, ref: false }),
    ]);
    if (problem) throw new StartError(`${name} ${problem}: ${await lastError(logFile)}; see ${logFile}`);
    return { pid: readPid(pidFile) ?? Number.NaN, ...server };
  } catch (error) {
    await server.stop();
    throw error;
  } finally {
    abandoned.abort();
  }
}

async function ready(isReady: () => Promise<boolean>, signal: AbortSignal): Promise<undefined> {
  while (!signal.aborted && !(await isReady())) await sleep(50);
}

function ends(
  guard: ChildProcess,
  exited: Promise<string>,
  pidFile: string,
): Pick<LocalServer, 'stop' | 'kill'> {
  return {
    async stop() {
      guard.stdin?.destroy();
      await exited;
    },
    async kill() {
      const pid = readPid(pidFile);
      if (pid) signalProcess(pid, 'SIGKILL');
      await exited;
    },
  };
}

/** The process id in a pid file, if it is there. */
export function readPid(pidFile: string): number | undefined {
  if (!existsSync(pidFile)) return undefined;
  return Number.parseInt(readFileSync(pidFile, 'utf8'), 10) || undefined;
}

/** Sends a signal; `false` when there is no such process. Signal 0 only asks. */
export function signalProcess(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, signal);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

// A pid alone may have been given to another process since: the command line must be the one we started.
async function endStale(pidFile: string, command: readonly string[]): Promise<void> {
  const pid = readPid(pidFile);
  if (pid && (await commandLine(pid)).includes(command.slice(1).join(' '))) {
    signalProcess(pid, 'SIGTERM');
    for (let i = 0; i < 40 && signalProcess(pid, 0); i++) await sleep(100);
    signalProcess(pid, 'SIGKILL');
  }
  await rm(pidFile, { force: true });
}

/** The command line of a process, arguments joined by spaces; empty when there is none. */
export async function commandLine(pid: number): Promise<string> {
  const ps = spawn('ps', ['-ww', '-o', 'args=', '-p', String(pid)], { stdio: ['ignore', 'pipe', 'ignore'] });
  let text = '';
  ps.stdout.on('data', (chunk) => {
    text += chunk;
  });
  await Promise.race([once(ps, 'close'), once(ps, 'error')]);
  return text.trim();
}

/** The line of a log that says best why a process ended: the last that speaks of an error, or else the last. */
export async function lastError(logFile: string): Promise<string> {
  const lines = (await readFile(logFile, 'utf8').catch(() => '')).split('\n').filter((line) => line.trim());
  return lines.findLast((line) => /error|exception|fatal/i.test(line)) ?? lines.at(-1) ?? 'it said nothing';
}

/** A port of 127.0.0.1 that nobody listens on at the moment. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

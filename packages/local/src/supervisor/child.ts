import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { constants, setPriority } from 'node:os';
import { dirname } from 'node:path';
import { createInterface } from 'node:readline';
import { compileCacheDir } from '@video-pipeline/assets';
import { HELD } from '@video-pipeline/lifecycle';
import { errorIn, LogFile } from './log.ts';
import { endOrphan, type LocalServer, StartError, startProblem } from './processes.ts';

/** A Node process of the pipeline. It reports by IPC that it is ready, and ends when the channel closes. */
export interface ChildProgram {
  name: string;
  script: string;
  args?: readonly string[];
  env?: NodeJS.ProcessEnv;
  /**
   * Makes the process wait, once its modules are loaded, until this resolves to variables that were unknown before. The
   * process must call `waitForParent`.
   */
  begin?: (() => Promise<NodeJS.ProcessEnv | undefined>) | undefined;
  /** Whether it has a lower priority than all other processes. */
  inBackground?: boolean | undefined;
  /** Most memory of each half of V8's new space, MiB. Each thread has one. */
  semiSpaceMiB?: number | undefined;
  pidFile: string;
  logFile: string;
  /** Receives each line of stdout. */
  onLine?: (line: string) => void;
  timeoutMs?: number;
  /** Ends the process before it is ready. */
  stop?: AbortSignal | undefined;
}

/** A child process, with the last error that it printed. */
export interface Child extends LocalServer {
  lastError(): string;
  /** Whether it reported that its work is done. */
  isFinished(): boolean;
}

const KEPT_LINES = 50;

/**
 * Starts a Node process of the pipeline.
 * @throws the errors of `begin`; StartError when it ends before it is ready, is not ready after `timeoutMs`, or `stop`
 * aborts
 */
export async function startChild(program: ChildProgram): Promise<Child> {
  const { name, pidFile, logFile, timeoutMs = 120_000 } = program;
  await Promise.all([logFile, pidFile].map((file) => mkdir(dirname(file), { recursive: true })));
  await endOrphan(pidFile);
  const log = new LogFile(logFile);
  const child = fork(program.script, program.args ?? [], {
    // A process group of its own, so that Ctrl-C in the terminal reaches only this process.
    detached: true,
    // Fewer arenas of glibc and a smaller new space of V8 (MiB) keep memory constant. With the defaults, annotate grew
    // by 100 MiB in half an hour.
    env: {
      NODE_COMPILE_CACHE: compileCacheDir(),
      MALLOC_ARENA_MAX: '2',
      ...process.env,
      ...program.env,
      ...(program.begin && { [HELD]: '1' }),
    },
    execArgv: [...process.execArgv, `--max-semi-space-size=${program.semiSpaceMiB ?? 16}`],
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  if (program.inBackground && child.pid) lowerPriority(child.pid);
  // Nothing is awaited before the listeners below: a process that ends at once would be waited for without end.
  const lines: string[] = [];
  const keep = (line: string) => {
    log.write(line);
    lines.push(line);
    if (lines.length > KEPT_LINES) lines.shift();
  };
  for (const output of [child.stdout, child.stderr]) {
    if (!output) continue;
    createInterface({ input: output, crlfDelay: Number.POSITIVE_INFINITY }).on('line', (line) => {
      keep(line);
      if (output === child.stdout) program.onLine?.(line);
    });
  }
  // 'close' comes after 'exit', when the last lines have been read.
  const exited = once(child, 'close').then(async ([code, signal]) => {
    log.close();
    await rm(pidFile, { force: true });
    return String(signal ?? code);
  });
  const kill = async () => {
    child.kill('SIGKILL');
    await exited;
  };
  let finished = false;
  child.on('message', (message: { finished?: boolean }) => {
    finished ||= message.finished === true;
  });
  try {
    writeFileSync(pidFile, String(child.pid));
    const ready = readyMessage(child);
    const { begin, stop } = program;
    const held = begin && (await startProblem(exited, () => sendBegin(child, begin), { stop }));
    const problem = held ?? (await startProblem(exited, () => ready, { timeoutMs, stop }));
    if (problem) throw new StartError(`${name} ${problem}: ${errorIn(lines)}; see ${logFile}`);
  } catch (error) {
    await kill();
    throw error;
  }
  const stop = async () => {
    child.kill('SIGTERM');
    await exited;
  };
  return {
    pid: child.pid ?? Number.NaN,
    exited,
    stop,
    kill,
    lastError: () => errorIn(lines),
    isFinished: () => finished,
  };
}

function lowerPriority(pid: number): void {
  setPriority(pid, constants.priority.PRIORITY_BELOW_NORMAL);
  try {
    // A desktop Linux first shares its cores among process groups. A priority counts only within such a group.
    writeFileSync(`/proc/${pid}/autogroup`, String(constants.priority.PRIORITY_BELOW_NORMAL));
  } catch {
    // Other systems have no such groups.
  }
}

async function sendBegin(
  child: ChildProcess,
  begin: () => Promise<NodeJS.ProcessEnv | undefined>,
): Promise<undefined> {
  const more = await begin();
  // If the process ends at this moment, `exited` resolves.
  if (child.connected) child.send({ begin: more ?? {} }, () => {});
}

async function readyMessage(child: NodeJS.EventEmitter): Promise<undefined> {
  return new Promise((resolve) => {
    child.on('message', (message: { ready?: unknown }) => {
      if (message.ready) resolve(undefined);
    });
  });
}

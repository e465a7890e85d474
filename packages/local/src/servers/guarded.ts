import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { errorIn } from '../supervisor/log.ts';
import {
  endOrphan,
  type LocalServer,
  readPid,
  StartError,
  signalProcess,
  startProblem,
} from '../supervisor/processes.ts';

const GUARD = join(import.meta.dirname, 'guard.sh');

/** A third-party program. It does not notice that its parent has ended. */
interface GuardedProgram {
  name: string;
  command: readonly [string, ...string[]];
  /** Left out: the environment of this process. */
  env?: NodeJS.ProcessEnv;
  /** Left out: the folder of this process. */
  cwd?: string;
  pidFile: string;
  /** File for stdout and stderr. It is emptied at the start. */
  logFile: string;
  /** Port on 127.0.0.1. {@link isReady} is called once it is open, since a call takes ten times as long as a look. */
  port?: number;
  isReady: () => Promise<boolean>;
  /** Ends the program before it is ready. */
  stop?: AbortSignal | undefined;
}

/**
 * Starts a program under `guard.sh`. A process that an earlier run left with the same `pidFile` is ended first.
 * @throws StartError when the program ends before it is ready, is not ready after two minutes, or `stop` aborts
 */
export async function startGuarded(program: GuardedProgram): Promise<LocalServer> {
  const { name, pidFile, logFile } = program;
  await Promise.all([logFile, pidFile].map((file) => mkdir(dirname(file), { recursive: true })));
  await endOrphan(pidFile);
  const guard = await spawnGuard(program);
  const exited = once(guard, 'exit').then(([code, signal]) => String(signal ?? code));
  const stop = async () => {
    guard.stdin?.destroy();
    await exited;
  };
  try {
    const ready = async (over: AbortSignal): Promise<undefined> => {
      const { port, isReady } = program;
      const isUp = async () => readPid(pidFile) && (!port || (await listens(port))) && isReady();
      while (!over.aborted && !(await isUp())) await sleep(50);
    };
    const problem = await startProblem(exited, ready, { timeoutMs: 120_000, stop: program.stop });
    const output = problem && errorIn((await readFile(logFile, 'utf8')).split('\n'));
    if (problem) throw new StartError(`${name} ${problem}: ${output}; see ${logFile}`);
  } catch (error) {
    // A program that is not ready has nothing to finish, and may not handle SIGTERM yet.
    signalProcess(readPid(pidFile) ?? 0, 'SIGKILL');
    await stop();
    throw error;
  }
  const pid = readPid(pidFile) ?? Number.NaN;
  const kill = async () => {
    signalProcess(pid, 'SIGKILL');
    await exited;
  };
  return { pid, exited, stop, kill };
}

function listens(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  const answer = once(socket, 'connect').then(
    () => true,
    () => false,
  );
  return answer.finally(() => socket.destroy());
}

/** Runs a program that ends with this process, without waiting until it is ready. */
export async function spawnGuard(
  program: Pick<GuardedProgram, 'command' | 'env' | 'cwd' | 'pidFile' | 'logFile'>,
): Promise<ChildProcess> {
  const { command, env, cwd, pidFile, logFile } = program;
  await writeFile(logFile, '');
  // In append mode, since the program may write and rotate the same file.
  const log = openSync(logFile, 'a');
  // A process group of its own, so that Ctrl-C in the terminal reaches only this process.
  const guard = spawn('sh', [GUARD, pidFile, ...command], {
    detached: true,
    ...(env && { env }),
    ...(cwd && { cwd }),
    stdio: ['pipe', log, log],
  });
  guard.stdin?.on('error', () => {});
  // Synchronous: the caller must listen before a program ends that ends at once.
  closeSync(log);
  return guard;
}

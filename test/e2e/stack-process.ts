import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isEnabled, STAGES } from '@video-pipeline/stages';
import { stateFile } from '../../packages/local/src/lightweight.ts';
import type { State } from '../../packages/local/src/session.ts';

const ROOT = join(import.meta.dirname, '../..');

/** The stages that always run. */
export const ALWAYS = STAGES.filter((stage) => isEnabled(stage, {})).map(({ name }) => name);

/** `npm start`, as a test runs it. */
export interface StackProcess {
  child: ChildProcess;
  /** The output of the process so far. */
  output: { stdout: string; stderr: string };
  exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  /** The supervisor's last state of the pipeline. */
  state(): Promise<State | undefined>;
  /** Ends the process if it runs, and waits for its end. */
  stop(): Promise<void>;
  /** Resolves with the first state for which `is` returns true. */
  until(is: (state: State) => boolean, what: string, timeoutMs?: number): Promise<State>;
}

/** Starts the supervisor on `dataDir` and any free ports. @param root of the repository, or of a copy of it */
export function startStackProcess(
  dataDir: string,
  args: readonly string[] = [],
  env: NodeJS.ProcessEnv = {},
  root = ROOT,
): StackProcess {
  const script = [join(root, 'packages/local/src/main.ts'), '--ports', 'auto', '--data-dir', dataDir];
  const child = spawn(process.execPath, [...script, ...args], {
    cwd: root,
    env: { ...process.env, NODE_OPTIONS: '', ...env },
    // With a channel, so that it ends when the test's process does.
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  const output = { stdout: '', stderr: '' };
  child.stdout?.on('data', (text) => {
    output.stdout += text;
  });
  child.stderr?.on('data', (text) => {
    output.stderr += text;
  });
  const exited = once(child, 'close').then(([code, signal]) => ({ code, signal }));
  const state = async () => {
    const text = await readFile(stateFile(dataDir), 'utf8').catch(() => undefined);
    const parsed = text === undefined ? undefined : (JSON.parse(text) as State);
    return parsed?.pid === child.pid ? parsed : undefined;
  };
  const until: StackProcess['until'] = async (is, what, timeoutMs = 60_000) => {
    for (const end = Date.now() + timeoutMs; Date.now() < end; await sleep(100)) {
      const now = await state();
      if (now && is(now)) return now;
      if (child.exitCode !== null) break;
    }
    throw new Error(
      `never came: ${what}\n${output.stdout}\n${output.stderr}\n${JSON.stringify(await state())}`,
    );
  };
  const stop = async () => {
    child.kill('SIGTERM');
    await exited;
  };
  return { child, output, exited, state, stop, until };
}

/** All processes of a stack: the supervisor and its children. */
export function pidsOf(state: State): number[] {
  return [state.pid, ...Object.values(state.services).flatMap(({ pid }) => pid ?? [])];
}

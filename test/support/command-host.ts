// A process that runs command lines of ours, one after another, as its parent asks. A command's own file is loaded anew
// each time. The modules that commands share, which are most of what one takes to start, are loaded once.
import { AsyncLocalStorage } from 'node:async_hooks';
import { type ChildProcess, fork } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { inTurn } from '../../packages/storage/src/in-parallel.ts';

/** How a command ended, and what it wrote. */
export interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

interface Asked {
  script: string;
  args: readonly string[];
  env: NodeJS.ProcessEnv;
}

/**
 * Runs commands in a process that is kept. One that is signalled is run by itself. What a command starts writes elsewhere:
 * its output is not in the command's.
 */
export class CommandHost {
  #child: ChildProcess | undefined;
  readonly #next = inTurn();

  /** @param env variables put over those of this process */
  run(script: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Outcome> {
    return this.#next(() => this.#ask({ script, args, env: { ...process.env, ...env } }));
  }

  #ask(asked: Asked): Promise<Outcome> {
    this.#child ??= this.#start();
    const child = this.#child;
    const { promise, resolve, reject } = Promise.withResolvers<Outcome>();
    const onExit = (code: number | null) => reject(new Error(`${asked.script} ended its process (${code})`));
    child.once('message', resolve).once('exit', onExit);
    child.send(asked);
    return promise.finally(() => child.off('message', resolve).off('exit', onExit));
  }

  #start(): ChildProcess {
    const child = fork(import.meta.filename, {
      execArgv: ['--disable-warning=ExperimentalWarning'],
      // Pipes would count as what the first command that asks of them leaves open.
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    return child.once('exit', () => {
      this.#child = undefined;
    });
  }

  async stop(): Promise<void> {
    const child = this.#child;
    if (!child) return;
    const exited = new Promise((resolve) => child.once('exit', resolve));
    child.disconnect();
    await exited;
  }
}

/** What `process.exit` throws here, so that the command goes no further. */
class Exit extends Error {}

/** A command that runs, or has run: a timer that it has left must not end the next one. */
interface Running {
  outcome: Outcome;
  exited: PromiseWithResolvers<void>;
  isOver: boolean;
}
const running = new AsyncLocalStorage<Running>();
/** Longest time that a command takes to end once its work is done, milliseconds: a process of its own would never end. */
const END_MS = 10_000;

if (process.send && process.argv[1] === import.meta.filename) {
  let count = 0;
  const { exit } = process;
  process.on('disconnect', () => exit());
  process.on('uncaughtException', (error) => {
    if (!(error instanceof Exit)) throw error;
  });
  process.exit = (code) => {
    end(Number(code ?? process.exitCode ?? 0));
    throw new Exit();
  };
  for (const name of ['stdout', 'stderr'] as const) {
    process[name].write = (text: string | Uint8Array, ...rest: unknown[]) => {
      const command = running.getStore();
      if (command && !command.isOver) command.outcome[name] += String(text);
      for (const one of rest) if (typeof one === 'function') one();
      return true;
    };
  }
  process.on('message', async (asked: Asked) => process.send?.(await outcomeOf(asked, ++count)));
}

/** Ends the command of this context, unless it has ended. */
function end(code: number): void {
  const command = running.getStore();
  if (!command || command.isOver) return;
  command.outcome.code = code;
  command.isOver = true;
  command.exited.resolve();
}

/** Waits as a process does before it ends: until nothing keeps it but what there was `before`. */
async function nothingIsLeft(before: readonly string[], command: Running): Promise<void> {
  for (const began = performance.now(); !command.isOver; ) {
    process.channel?.ref(); // a command that has a parent may have let go of it
    await sleep(5, undefined, { ref: false });
    const left = process.getActiveResourcesInfo();
    for (const kind of before) if (left.includes(kind)) left.splice(left.indexOf(kind), 1);
    if (left.length === 0) return;
    if (performance.now() - began > END_MS) throw new Error(`it does not end, for it left open: ${left}`);
  }
}

async function outcomeOf({ script, args, env }: Asked, count: number): Promise<Outcome> {
  process.argv = [process.execPath, script, ...args];
  for (const name of Object.keys(process.env)) if (!(name in env)) delete process.env[name];
  Object.assign(process.env, env);
  process.exitCode = undefined;
  const outcome: Outcome = { code: 0, stdout: '', stderr: '' };
  const command: Running = { outcome, exited: Promise.withResolvers(), isOver: false };
  const before = process.getActiveResourcesInfo();
  await running.run(command, async () => {
    try {
      await Promise.race([import(`${pathToFileURL(script)}?${count}`), command.exited.promise]);
      await Promise.race([nothingIsLeft(before, command), command.exited.promise]);
      end(Number(process.exitCode ?? 0));
    } catch (error) {
      if (!command.isOver) process.stderr.write(`${(error as Error).stack}\n`);
      end(1);
    }
  });
  process.channel?.ref();
  return outcome;
}

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { makeFolder } from '@video-pipeline/assets/cache';
import type { State } from '@video-pipeline/local';
import {
  errorIn,
  ROOT,
  StartError,
  signalProcess,
  supervisorOf,
  unwritable,
} from '@video-pipeline/local/lightweight';
import type { Command } from 'commander';
import { runningState, stackCommand, type Target } from './running.ts';

/** Long, since the first start installs Kafka, S3Proxy and the model. */
const UP_TIMEOUT_MS = 600_000;
/** A stop takes 5 s at most. */
const DOWN_TIMEOUT_MS = 15_000;

export function upCommand(): Command {
  return stackCommand(
    'up',
    "start the pipeline in the background, as 'npm start' does, and wait until it runs",
  )
    .argument('[options...]', "options of 'npm start', such as --source, --model or --no-ingest")
    .allowUnknownOption()
    .action(async (args: string[], { dataDir, json }: Target) => {
      const state = (await runningState(dataDir)) ?? (await start(dataDir, args));
      console.log(json ? JSON.stringify(state) : describe(state));
    });
}

async function start(dataDir: string, args: string[]): Promise<State> {
  const logFile = join(dataDir, 'logs', 'supervisor.log');
  const log = await makeFolder(dirname(logFile))
    .then(() => open(logFile, 'w'))
    .catch((cause) => {
      throw unwritable(dataDir, cause);
    });
  const script = join(ROOT, 'packages/local/src/main.ts');
  const child = spawn(process.execPath, [...process.execArgv, script, '--data-dir', dataDir, ...args], {
    detached: true,
    // The process outlives the npm that started it.
    env: { ...process.env, npm_lifecycle_event: undefined },
    stdio: ['ignore', log.fd, log.fd],
  });
  child.unref();
  const exited = once(child, 'exit').then(() => true);
  await log.close();
  for (const end = performance.now() + UP_TIMEOUT_MS; performance.now() < end; ) {
    if (await Promise.race([exited, sleep(200, false)])) break;
    const state = await runningState(dataDir);
    // The console is the last service to start.
    if (state && (state.endpoints.console === undefined || 'console' in state.services)) return state;
  }
  const error = errorIn((await readFile(logFile, 'utf8')).split('\n'));
  throw new StartError(`the pipeline did not start: ${error}; see ${logFile}`);
}

function describe({ pid, endpoints }: State): string {
  const rows = Object.entries(endpoints).map(([name, where]) => `  ${name.padEnd(10)} ${where}`);
  return [`the pipeline runs (process ${pid}); 'npm run local -- down' stops it`, ...rows].join('\n');
}

export function downCommand(): Command {
  const command = stackCommand('down', 'stop the pipeline and wait until it has ended; its data stays');
  return command.action(async ({ dataDir, json }: Target) => {
    const pid = await supervisorOf(join(dataDir, 'run'));
    if (pid) await stop(pid);
    const text = pid ? 'stopped' : `nothing ran on ${dataDir}`;
    console.log(json ? JSON.stringify({ stopped: pid ?? null }) : text);
  });
}

async function stop(pid: number): Promise<void> {
  signalProcess(pid, 'SIGTERM');
  for (const end = performance.now() + DOWN_TIMEOUT_MS; signalProcess(pid, 0); await sleep(50)) {
    if (performance.now() > end)
      throw new StartError(`process ${pid} has not ended after ${DOWN_TIMEOUT_MS / 1000} s`);
  }
}

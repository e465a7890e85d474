import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

const MAIN = join(import.meta.dirname, '../../ingest-host/src/main.ts');

/** The ingest host as its own process, as a container would run it. */
export function startIngestProcess(env: Record<string, string>, main = MAIN, args: string[] = []) {
  const child: ChildProcess = fork(main, args, {
    env: { ...process.env, HEALTH_PORT: '0', ...env },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  const exited = once(child, 'close').then(([code]) => code as number | null); // the last output read
  const ready = once(child, 'message').then(([message]) => message.ready as { url: string });
  return {
    pid: child.pid,
    ready,
    exited,
    output: () => output,
    signal: (name: NodeJS.Signals) => child.kill(name),
    stop: () => {
      if (child.exitCode === null) child.kill('SIGTERM');
      return exited;
    },
  };
}

import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

const MAIN = join(import.meta.dirname, '../../model/src/main.ts');

/** A model server in its own process. */
export interface ModelProcess {
  url: string;
  /** Sends SIGTERM. @returns the exit code */
  stop(): Promise<number>;
}

/**
 * Starts the model server on a free port of 127.0.0.1, with the default model unless `args` name one.
 * @throws Error with what it wrote to stderr when it ends before it is ready
 */
export async function startModel(args: string[] = [], env: NodeJS.ProcessEnv = {}): Promise<ModelProcess> {
  const child = fork(MAIN, ['--device', 'cpu', ...args], {
    env: { ...process.env, HOST: '127.0.0.1', PORT: '0', LOG_LEVEL: 'ERROR', ...env },
    stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
  });
  let stderr = '';
  child.stderr?.on('data', (text) => {
    stderr += text;
  });
  const exited = once(child, 'close').then(([code]) => code as number);
  const ready = new Promise<string>((resolve) => {
    child.on(
      'message',
      (message: { ready?: { url: string } }) => message.ready && resolve(message.ready.url),
    );
  });
  const ended = exited.then((code) => {
    throw new Error(`ended with ${code}: ${stderr}`);
  });
  const url = await Promise.race([ready, ended]);
  // From here on, `stop` waits for its end.
  ended.catch(() => {});
  return {
    url,
    stop() {
      child.kill('SIGTERM');
      return exited;
    },
  };
}

import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { ROOT } from '@video-pipeline/local/lightweight';

/**
 * Runs a process of the pipeline in the foreground until it ends.
 * @param options.onReady receives the address that the process serves; the process then prints to stderr
 * @returns its exit code
 */
export async function runInForeground(
  script: string,
  env: NodeJS.ProcessEnv,
  { args = [], onReady }: { args?: readonly string[]; onReady?: (url: string) => void } = {},
): Promise<number> {
  const child = fork(join(ROOT, script), args, {
    env: { ...process.env, ...env },
    stdio: ['inherit', onReady ? process.stderr : 'inherit', 'inherit', 'ipc'],
  });
  child.on('message', ({ ready }: { ready?: { url?: string } }) => {
    if (ready?.url) onReady?.(ready.url);
  });
  // A terminal sends Ctrl-C to the child, too; we wait for its end.
  process.on('SIGINT', () => {});
  process.on('SIGTERM', () => child.kill('SIGTERM'));
  const [code] = await once(child, 'exit');
  return code ?? 1;
}

/**
 * `node in-turn.ts COMMAND... --then COMMAND...`: runs one command after the other, as `&&` does. When it is asked to
 * end, it ends the current command, too. A shell would end alone.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { onNpmExit } from './index.ts';

for (let words = process.argv.slice(2); words.length > 0; ) {
  const end = words.includes('--then') ? words.indexOf('--then') : words.length;
  const [command = '', ...args] = words.slice(0, end);
  words = words.slice(end + 1);
  const child = spawn(command, args, { stdio: 'inherit' });
  const stop = () => child.kill('SIGTERM');
  for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(name, stop);
  onNpmExit(stop);
  const [code] = await once(child, 'exit').catch(({ code, message }: NodeJS.ErrnoException) => {
    // NODE_ENV=production and npm's `omit` leave out what only developers need.
    console.error(code === 'ENOENT' ? `${command} is not installed: npm install --include=dev` : message);
    return [1];
  });
  for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.off(name, stop);
  if (code !== 0) process.exit(code ?? 1);
}

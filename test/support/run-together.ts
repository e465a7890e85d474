// `node run-together.ts COMMANDS`: runs commands of ours one after another in this process, so that what several of them
// load is loaded once. COMMANDS is JSON: for each its file, then its arguments. After what a command has said stands \0 on
// stdout and on stderr; on stdout its exit code and another \0 follow.
import { registerHooks } from 'node:module';
import { setImmediate as turn } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';

const commands: [file: string, ...args: string[]][] = JSON.parse(process.argv[2] ?? '');
const { exit } = process;
const write = { stdout: process.stdout.write, stderr: process.stderr.write };
const environment = { ...process.env };
// Each command listens for signals.
process.setMaxListeners(0);
// A command's file is loaded anew each time, with what it loads itself: that may be all of the command.
registerHooks({
  resolve(name, context, next) {
    const found = next(name, context);
    const [, again] = /\?again=(\d+)$/.exec(context.parentURL ?? '') ?? [];
    return again && name.startsWith('.') ? { ...found, url: `${found.url}?of=${again}` } : found;
  },
});

for (const [index, [file, ...args]] of commands.entries()) {
  Object.assign(process.stdout, { write: write.stdout });
  Object.assign(process.stderr, { write: write.stderr });
  process.env = { ...environment };
  process.argv = [process.execPath, file, ...args];
  process.exitCode = undefined;
  const ended = Promise.withResolvers<unknown>();
  process.exit = (code) => {
    ended.resolve(code ?? process.exitCode);
    // What comes after the exit of a process is never said.
    for (const stream of [process.stdout, process.stderr]) Object.assign(stream, { write: () => true });
    throw new Error('exit');
  };
  import(`${pathToFileURL(file)}?again=${index}`).then(
    () => ended.resolve(process.exitCode),
    (error) => ended.reject(error),
  );
  const code = await ended.promise.catch((error) => {
    process.stderr.write(`${error.stack}\n`);
    return 1;
  });
  await turn();
  write.stderr.call(process.stderr, '\0');
  write.stdout.call(process.stdout, `\0${code ?? 0}\0`);
}
exit(0);

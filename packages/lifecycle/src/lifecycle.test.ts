import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const LIFECYCLE = JSON.stringify(join(import.meta.dirname, 'index.ts'));

/** Runs a program that imports all of lifecycle as `life`. @returns its exit code and output */
async function run(program: string, signal?: NodeJS.Signals) {
  const code = `import * as life from ${LIFECYCLE};\n${program}\nprocess.stdout.write('begun\\n');`;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', code]);
  let written = '';
  for (const output of [child.stdout, child.stderr])
    output.setEncoding('utf8').on('data', (text) => (written += text));
  const closed = once(child, 'close');
  await once(child.stdout, 'data');
  if (signal) child.kill(signal);
  const [exitCode] = await closed;
  return { exitCode, written };
}

test('a command with an open connection ends soon, and logs what is open', async () => {
  const server = createServer(() => {}).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const open = `import { connect } from 'node:net'; connect(${port}, '127.0.0.1'); setInterval(() => {}, 1000);`;
  const { exitCode, written } = await run(`${open} void life.runCommand(Promise.resolve());`);
  server.close();
  expect(exitCode).toBe(0);
  expect(written).toContain(`ended after 1 s of waiting for: 1 TCPSocketWrap 127.0.0.1:${port},`);
});

test('a command without open handles ends at once, and logs nothing', async () => {
  const { exitCode, written } = await run('void life.runCommand(Promise.resolve()); process.exitCode = 3;');
  expect([exitCode, written]).toEqual([3, 'begun\n']);
});

test.each(['SIGTERM', 'SIGINT'] as const)(
  '%s: a shutdown that hangs is forced to end, and logs what it waited for',
  async (signal) => {
    const log = '{ error: (message, error) => console.error(message, error.message) }';
    const program = `setInterval(() => {}, 1000); life.onShutdown(() => new Promise(() => {}), ${log}, 300);`;
    const { exitCode, written } = await run(program, signal);
    expect(exitCode).toBe(1);
    expect(written).toMatch(/stop took too long not stopped after 300 ms; open: .*1 Timeout/);
  },
);

test('a process that npm started ends when npm is killed', async () => {
  const code = `import * as life from ${LIFECYCLE};
    life.onShutdown(async () => console.log('stopped'), console);
    setInterval(() => {}, 1000);
    console.log('begun');`;
  const npm = spawn('sh', ['-c', '"$0" --input-type=module --eval "$1" & wait', process.execPath, code], {
    env: { ...process.env, npm_lifecycle_event: 'model' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let written = '';
  npm.stdout.setEncoding('utf8').on('data', (text) => (written += text));
  await once(npm.stdout, 'data');
  const closed = once(npm, 'close'); // once nobody holds its output any more
  npm.kill('SIGKILL');
  await closed;
  expect(written).toBe('begun\nstopped\n');
});

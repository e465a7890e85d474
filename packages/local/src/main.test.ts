import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';

/** Runs main.ts with another module in place of one that it loads. */
function runWith(name: string, other: string, env: NodeJS.ProcessEnv = {}) {
  const hooks = `import { registerHooks } from 'node:module';
    const other = ${JSON.stringify(other)};
    registerHooks({ resolve: (name, context, next) => next(name === '${name}' ? other : name, context) });`;
  const args = ['--import', `data:text/javascript,${encodeURIComponent(hooks)}`];
  return spawnSync(process.execPath, [...args, join(import.meta.dirname, 'main.ts'), '--help'], {
    encoding: 'utf8',
    env: { ...process.env, ...env },
  });
}

test('a dependency that is not installed is an error of one line with the remedy', () => {
  const { status, stderr } = runWith('commander', 'absent-package');
  expect(stderr).toMatch(/^Cannot find package 'absent-package' imported from .+: run npm install\n$/);
  expect(status).toBe(1);
});

test.each([
  [{ no_proxy: undefined, NO_PROXY: undefined }, '127.0.0.1,localhost'],
  [{ no_proxy: undefined, NO_PROXY: 'npm.example' }, 'npm.example,127.0.0.1,localhost'],
])(
  "requests to the stack's own servers bypass the machine's proxy, with %j in the shell",
  (given, expected) => {
    // Nothing listens at the proxy.
    const proxy = { NODE_USE_ENV_PROXY: '1', http_proxy: 'http://127.0.0.1:1' };
    const own = `data:text/javascript,import { createServer, get } from 'node:http';
    const server = createServer((_, response) => response.end(process.env.no_proxy + ' ' + process.env.NO_PROXY));
    server.listen(0, '127.0.0.1', async () => {
      const url = 'http://127.0.0.1:' + server.address().port;
      console.log(await (await fetch(url)).text());
      get(url, (response) => {
        response.pipe(process.stdout);
        server.close();
      });
    });`;
    const { stdout, stderr } = runWith('./start.ts', own, { ...given, ...proxy });
    expect(stdout, stderr).toBe(`${expected} ${expected}\n${expected} ${expected}`);
  },
);

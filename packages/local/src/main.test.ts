import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';

/** Resolves `commander` as a package that is not installed. */
const ABSENT = `data:text/javascript,import { registerHooks } from 'node:module';
registerHooks({ resolve: (name, context, next) => next(name === 'commander' ? 'absent-package' : name, context) });`;

test('a dependency that a pull has brought and nobody has installed is one line with the remedy', () => {
  const main = join(import.meta.dirname, 'main.ts');
  const { status, stderr } = spawnSync(process.execPath, ['--import', ABSENT, main, '--help'], {
    encoding: 'utf8',
  });
  expect(stderr).toMatch(/^Cannot find package 'absent-package' imported from .+: run npm install\n$/);
  expect(status).toBe(1);
});

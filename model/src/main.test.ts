import { spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';

test('the server reuses modules that another process has compiled', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'compiled-'));
  const env = { ...process.env, NODE_COMPILE_CACHE: folder, NODE_DEBUG_NATIVE: 'COMPILE_CACHE' };
  // Of each module Node says several lines: a megabyte, which is the default, is soon full.
  const options = { env, encoding: 'utf8', maxBuffer: 8_000_000 } as const;
  const run = (...args: string[]) => spawnSync(process.execPath, args, options).stderr;
  try {
    const shared = join(import.meta.dirname, '../../packages/config/src/config.ts');
    run(shared);
    const output = run(join(import.meta.dirname, 'main.ts'), '--help');
    expect(output).toContain(`${shared} was accepted`);
    expect(output).not.toContain('was rejected');
  } finally {
    await rm(folder, { recursive: true });
  }
});

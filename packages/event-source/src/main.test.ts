import { spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HELD } from '@video-pipeline/lifecycle';
import { expect, test } from 'vitest';

const ROOT = join(import.meta.dirname, '../../..');

/** Tells the address of each module that is loaded. */
const TELL = `import { registerHooks } from 'node:module';
registerHooks({ resolve(name, context, next) { const found = next(name, context); console.error(found.url); return found; } });`;

test.each(['detect', 'annotate'])(
  '%s does not load modules at its start that only some variables need',
  (stage) => {
    const handler = join(ROOT, 'functions/src', `${stage}.ts`);
    const { stderr } = spawnSync(
      process.execPath,
      [
        ...['--import', `data:text/javascript,${encodeURIComponent(TELL)}`],
        ...[join(import.meta.dirname, 'main.ts'), '--handler', handler, '--topic', 't', '--group', 'g'],
      ],
      // Without a parent that lets it begin, it ends once it has loaded everything.
      { env: { ...process.env, [HELD]: '1' }, encoding: 'utf8', maxBuffer: 8_000_000 },
    );
    const packages = new Set(
      Array.from(stderr.matchAll(/.*node_modules\/((?:@[^/]+\/)?[^/\s]+)/g), ([, name]) => name),
    );
    expect([...packages]).toContain('kafkajs');
    // METRICS_PORT makes it serve, MQTT_URL tell a broker, INFERENCE_BACKEND call SageMaker.
    for (const name of ['fastify', 'prom-client', 'mqtt', '@aws-sdk/client-sagemaker-runtime'])
      expect([...packages]).not.toContain(name);
    expect(stderr).not.toContain('/undici/lib/web/');
  },
);

test('a handler reuses modules that another process has compiled', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'compiled-'));
  const handler = join(folder, 'handler.mjs');
  const env = { ...process.env, [HELD]: '1', NODE_COMPILE_CACHE: folder, NODE_DEBUG_NATIVE: 'COMPILE_CACHE' };
  // Of each module Node says several lines: a megabyte, which is the default, is soon full.
  const options = { env, encoding: 'utf8', maxBuffer: 8_000_000 } as const;
  const run = (...args: string[]) => spawnSync(process.execPath, args, options).stderr;
  try {
    await writeFile(handler, 'export const handler = () => {};');
    run(handler);
    const output = run(
      join(import.meta.dirname, 'main.ts'),
      '--handler',
      handler,
      '--topic',
      't',
      '--group',
      'g',
    );
    expect(output).toContain(`${handler} was accepted`);
  } finally {
    await rm(folder, { recursive: true });
  }
});

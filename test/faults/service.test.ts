import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { signalProcess } from '@video-pipeline/local';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startChild } from '../../packages/local/src/supervisor/child.ts';
import { endServices, Service } from './service.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'service-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const files = (name: string) => ({
  name,
  script: join(import.meta.dirname, 'sleeper.ts'),
  pidFile: join(folder, `${name}.pid`),
  logFile: join(folder, `${name}.log`),
});

test('all services end at the same time, also a frozen one and one that is still starting', async () => {
  const frozen = new Service((stop) => startChild({ ...files('frozen'), stop }));
  await frozen.start();
  const { pid = 0 } = frozen;
  const freezing = frozen.freeze(60_000);
  await sleep(300);
  const starting = new Service((stop) => startChild({ ...files('starting'), stop }));
  const start = expect(starting.start()).rejects.toThrow('was told to stop');
  const began = performance.now();
  await endServices();
  expect(performance.now() - began).toBeLessThan(10_000);
  expect(signalProcess(pid, 0)).toBe(false);
  await start;
  await expect(frozen.start()).rejects.toThrow();
  await freezing;
});

test('a frozen process continues and ends when the process that froze it is killed', async () => {
  const text = `
    import { startChild } from ${JSON.stringify(import.meta.resolve('../../packages/local/src/supervisor/child.ts'))};
    import { Service } from ${JSON.stringify(import.meta.resolve('./service.ts'))};
    const service = new Service((stop) => startChild({ ...${JSON.stringify(files('left'))}, stop }));
    await service.start();
    void service.freeze(1_000);
    console.log(service.pid);
    setTimeout(() => process.kill(process.pid, 'SIGKILL'), 300);`;
  const script = join(folder, 'owner.mjs');
  await writeFile(script, text);
  const owner = spawn(process.execPath, [script], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [pid] = await once(owner.stdout, 'data');
  await once(owner, 'exit');
  await expect.poll(() => signalProcess(Number(pid), 0), { timeout: 30_000 }).toBe(false);
});

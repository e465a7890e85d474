import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { findGpus } from './gpu.ts';
import { createMetrics } from './server/metrics.ts';

// There is no GPU where tests run: a script stands in for nvidia-smi.
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nvidia-smi-'));
  vi.stubEnv('PATH', `${folder}:${process.env.PATH}`);
});
beforeEach(() => rm(join(folder, 'nvidia-smi'), { force: true }));
afterAll(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true });
});

async function nvidiaSmi(script: string): Promise<void> {
  const path = join(folder, 'nvidia-smi');
  await writeFile(path, `#!/bin/sh\n${script}\n`);
  await chmod(path, 0o755);
}

test('memory and utilisation of each GPU are metrics, and unknown values are omitted', async () => {
  await nvidiaSmi(`test "$*" = "--query-gpu=index,memory.used,memory.total,utilization.gpu --format=csv,noheader,nounits" &&
    printf '0, 1024, 16384, 35\\n1, 2, 16384, [N/A]\\n'`);
  const { registry } = createMetrics(() => new Map(), await findGpus());
  const text = await registry.metrics();
  expect(text).toContain(`inference_gpu_memory_used_bytes{gpu="0"} ${1024 * 2 ** 20}`);
  expect(text).toContain(`inference_gpu_memory_total_bytes{gpu="1"} ${16384 * 2 ** 20}`);
  expect(text).toContain('inference_gpu_utilization_ratio{gpu="0"} 0.35');
  expect(text).not.toContain('inference_gpu_utilization_ratio{gpu="1"}');
});

test('without a GPU the GPU metrics are omitted', async () => {
  for (const script of [undefined, 'echo "NVIDIA-SMI has failed"; exit 9']) {
    if (script) await nvidiaSmi(script);
    const read = await findGpus();
    expect(read).toBeUndefined();
    expect(await createMetrics(() => new Map(), read).registry.metrics()).not.toContain('inference_gpu');
  }
});

test('a scrape does not wait for a slow nvidia-smi, and does not start a second one', async () => {
  await nvidiaSmi("echo '0, 1, 100, 50'");
  const read = await findGpus();
  const calls = join(folder, 'calls');
  await nvidiaSmi(`echo called >>${calls}; sleep 1; echo '0, 2, 100, 60'`);
  const later = performance.now() + 60_000;
  const clock = vi.spyOn(performance, 'now').mockImplementation(() => later);
  const readings = await Promise.all([read?.(), read?.()]);
  // What it told before: the new reading is not there yet.
  expect(readings.map((one) => one?.[0]?.utilisation)).toEqual([0.5, 0.5]);
  await vi.waitFor(async () => expect((await read?.())?.[0]?.utilisation).toBe(0.6), 5_000);
  clock.mockRestore();
  expect(await readFile(calls, 'utf8')).toBe('called\n');
});

test('the metrics of a GPU that can not be read any more are omitted', async () => {
  await nvidiaSmi("echo '0, 1, 100, 50'");
  const read = await findGpus();
  await nvidiaSmi('exit 15');
  const later = performance.now() + 60_000;
  const clock = vi.spyOn(performance, 'now').mockImplementation(() => later);
  await vi.waitFor(async () => expect(await read?.()).toEqual([]), 5_000);
  clock.mockRestore();
});

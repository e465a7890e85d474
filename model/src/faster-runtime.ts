import { readFile, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { cacheDir, writeWhole } from '@video-pipeline/assets';
import type { DeviceUse, StartOptions } from './device-use.ts';
import type { Runtime, WorkerJob } from './inference-pool.ts';
import { letterbox } from './letterbox.ts';

/** Measured frames a second, by runtime. */
type Measured = Record<string, number>;

/** The second runtime must be faster by this factor to be used. */
const WORTH = 1.1;
/** Time of a measurement, and frames for each thread in one round. */
const MEASURE_MS = 1_500;
const ROUND = 4;

/**
 * Finds the faster of two runtimes for a model on this CPU. They are measured once for each machine, model and
 * precision. The result is kept in the cache.
 * @returns the runtime to use, and the other one
 */
export async function fasterRuntime(
  first: DeviceUse,
  second: DeviceUse,
  options: StartOptions,
  measureMs = MEASURE_MS,
) {
  const path = join(cacheDir(), 'model', 'runtimes.json');
  // Without a file, or with one that was cut off, a new measurement follows.
  const known: Record<string, Measured> = await readFile(path, 'utf8')
    .then(JSON.parse)
    .catch(() => ({}));
  const key = [options.model.version, cpus()[0]?.model.trim(), first.pool.size, second.precision].join(' | ');
  const measured = known[key] ?? (await measure([first, second], options, measureMs));
  if (!known[key]) {
    // A container may have a read-only root: it measures at each start.
    const text = `${JSON.stringify({ ...known, [key]: measured }, undefined, 2)}\n`;
    await writeWhole(path, (partial) => writeFile(partial, text)).catch(() => {});
  }
  const rates = [first, second].map(({ device, precision }) => {
    const rate = measured[device] ?? 0;
    options.note(`${device} ${precision}: ${rate.toFixed(1)} frames/s`);
    return rate;
  });
  const isSecond = (rates[1] ?? 0) > WORTH * (rates[0] ?? 0);
  return isSecond ? ([second, first] as const) : ([first, second] as const);
}

async function measure(
  uses: readonly DeviceUse[],
  { model }: StartOptions,
  measureMs: number,
): Promise<Measured> {
  const { inputHeight, inputWidth } = letterbox(16, 9, model.inputSize, model.fit);
  const dims = [model.batchSize ?? 1, inputHeight, inputWidth, 3] as const;
  const measured: Measured = {};
  for (const { device, pool } of uses) {
    // The first run includes one-time preparation.
    await runRound(pool, dims);
    let frames = 0;
    const began = performance.now();
    while (performance.now() - began < measureMs) frames += await runRound(pool, dims);
    measured[device] = (1000 * frames) / (performance.now() - began);
  }
  return measured;
}

/** @returns how many frames were run */
async function runRound(pool: Runtime, dims: WorkerJob['dims']): Promise<number> {
  const bytes = dims.reduce((a, b) => a * b);
  const jobs = Array.from({ length: ROUND * pool.size }, () =>
    pool.run({ frames: new Uint8Array(bytes).fill(114), dims, thresholds: [1] }),
  );
  return (await Promise.all(jobs)).length;
}

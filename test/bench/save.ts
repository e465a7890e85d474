import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';

/**
 * Puts figures of this machine, dated, into `docs/measured/<name>.json`, over those that stood there: documents and
 * `infra` read them from there alone.
 */
export function saveMeasured(name: 'pipeline' | 'load' | 'pictures' | 'video', figures: object): void {
  const file = join(import.meta.dirname, '../../docs/measured', `${name}.json`);
  const machine = `${cpus().length} x ${cpus()[0]?.model.trim()}`;
  const about = {
    date: new Date().toISOString().slice(0, 10),
    machine,
    cores: cpus().length,
    node: process.version,
  };
  const before = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {};
  writeFileSync(file, `${JSON.stringify({ ...before, ...about, ...figures }, undefined, 2)}\n`);
}

/** To one decimal. */
export const rounded = (value: number) => Math.round(value * 10) / 10;

export const kb = (bytes: number) => rounded(bytes / 1000);

const ROUNDS = 4;

/** Processor time of some work, once warm, milliseconds for each of the `frames` that it does. */
export async function cpuMs(frames: number, work: () => Promise<unknown>): Promise<number> {
  await work();
  const before = process.cpuUsage();
  for (let round = 0; round < ROUNDS; round++) await work();
  const { user, system } = process.cpuUsage(before);
  return rounded((user + system) / 1000 / (ROUNDS * frames));
}

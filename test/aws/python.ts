import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { cacheDir } from '@video-pipeline/assets';

const REQUIREMENTS = join(import.meta.dirname, 'requirements.txt');
export const run = promisify(execFile);

/** Whether this machine has Python, which the engines need. */
export const hasPython = () =>
  run('python3', ['-c', 'import venv, sys; assert sys.version_info >= (3, 10)']).then(
    () => true,
    () => false,
  );

let installed: Promise<string> | undefined;

/** @returns the folder of programs of a virtual environment with the engines, which is installed once, from PyPI by hashes */
export function engines(): Promise<string> {
  installed ??= install();
  return installed;
}

async function install(): Promise<string> {
  const hash = createHash('sha256').update(readFileSync(REQUIREMENTS)).digest('hex').slice(0, 16);
  const folder = join(cacheDir(), 'aws-engines', hash);
  const marker = join(folder, 'installed');
  if (!existsSync(marker)) {
    process.stderr.write('installing parliament and moto from PyPI: some minutes, once\n');
    await run('python3', ['-m', 'venv', '--clear', folder]);
    const pip = ['-m', 'pip', 'install', '--quiet', '--require-hashes', '-r', REQUIREMENTS];
    await run(join(folder, 'bin/python'), pip);
    await writeFile(marker, '');
  }
  return join(folder, 'bin');
}

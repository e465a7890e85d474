import { createHash } from 'node:crypto';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** All code that a stage and its functions are made from. */
const SOURCES = ['sst.config.ts', 'package-lock.json', '{infra,functions/src,packages/*/src}/**/*.{ts,json}'];

/**
 * Changes with the code that a stage and its functions are made from.
 * @param root of the repository
 * @param more files, beside those, whose changes count
 */
export function sourcesHash(root: string, more: readonly string[] = []): string {
  const hash = createHash('sha256');
  for (const file of globSync([...SOURCES, ...more], { cwd: root }).sort())
    hash.update(file).update(readFileSync(join(root, file)));
  return hash.digest('hex').slice(0, 16);
}

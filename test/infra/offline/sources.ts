import { createHash } from 'node:crypto';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** All code of a stage and its functions. */
const SOURCES = [
  'sst.config.ts',
  'package-lock.json',
  '{infra,functions/src,packages/*/src,test/infra/offline}/**/*.{ts,json}',
];

/**
 * A hash of all code of a stage and its functions.
 * @param root root of the repository
 * @param more further files that are part of the hash
 */
export function sourcesHash(root: string, more: readonly string[] = []): string {
  const hash = createHash('sha256');
  for (const file of globSync([...SOURCES, ...more], { cwd: root }).sort())
    hash.update(file).update(readFileSync(join(root, file)));
  return hash.digest('hex').slice(0, 16);
}

import { existsSync, statSync } from 'node:fs';
import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cacheDir, writeWhole } from './cache.ts';
import { diskError, download, integrityOf } from './download.ts';
import type { MavenSettings } from './maven-settings.ts';
import { Progress } from './progress.ts';

/** A jar with a pinned hash. */
export interface Jar {
  /** Path in a Maven repository: `org/gaul/s3proxy/2.6.0/s3proxy-2.6.0.jar`. */
  path: string;
  bytes: number;
  /** Hex. */
  sha256: string;
}

/**
 * Fetches jars as Maven would, in parallel, unless they are cached. Maven itself is not needed.
 * @param what name of all of them together, for a person
 * @returns absolute paths, in the same order
 * @throws AssetError
 */
export async function fetchJars(
  what: string,
  jars: readonly Jar[],
  note: (line: string) => void = () => {},
): Promise<string[]> {
  const paths = jars.map(({ path }) => join(cacheDir(), 'maven', path));
  // A power failure may have left a file of another size.
  const isThere = ({ bytes }: Jar, at: number) =>
    statSync(paths[at] ?? '', { throwIfNoEntry: false })?.size === bytes;
  const missing = jars.filter((jar, index) => !isThere(jar, index));
  if (missing.length > 0) {
    // Its XML parser is loaded only here: nearly every start finds all jars.
    const settings = (await import('./maven-settings.ts')).mavenSettings();
    const bytes = missing.reduce((sum, jar) => sum + jar.bytes, 0);
    const progress = new Progress(what, note, bytes);
    await sideBySide(missing, (jar) => fetchJar(jar, settings, progress));
  }
  return paths;
}

async function fetchJar(jar: Jar, settings: MavenSettings, progress: Progress): Promise<void> {
  const { path, sha256 } = jar;
  const target = join(cacheDir(), 'maven', path);
  const integrity = `sha256-${Buffer.from(sha256, 'hex').toString('base64')}`;
  const local = join(settings.localRepository, path);
  const name = path.slice(path.lastIndexOf('/') + 1);
  // Another file, or one that can't be read, is ignored.
  if (existsSync(local) && (await integrityOf(local, integrity).catch(() => '')) === integrity) {
    return writeWhole(target, (partial) => copyFile(local, partial)).catch((cause) => {
      throw diskError(name, cause) ?? cause;
    });
  }
  const { central: repository } = settings;
  const address = () => new URL(path, repository.url);
  await download({ name, repository, address, integrity }, target, progress);
}

const PARALLEL = 8;

/** Works on several items at a time. After the first failure it begins no other item, and throws that error. */
async function sideBySide<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const waiting = [...items];
  const worker = async () => {
    for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) {
      await work(item).catch((error) => {
        waiting.length = 0;
        throw error;
      });
    }
  };
  const ended = await Promise.allSettled(Array.from({ length: PARALLEL }, worker));
  for (const one of ended) if (one.status === 'rejected') throw one.reason;
}

import { join } from 'node:path';
import { AssetError, cacheDir } from './cache.ts';
import { download } from './download.ts';
import { pipIndexes } from './pip-settings.ts';
import { Progress } from './progress.ts';
import { type Repository, RepositoryError, requestText } from './repository.ts';
import { folderOnce, unpackZip } from './unpack.ts';

/** A Python wheel. Only its files are used, and no Python is needed. */
export interface Wheel {
  /** Its name in the index. */
  name: string;
  version: string;
  /**
   * The wheel's file in the index and its SHA-256 in hex, by `<process.platform>-<process.arch>`, or `any` for all
   * platforms.
   */
  files: Readonly<Record<string, { file: string; sha256: string }>>;
  /** Selects the files that are kept. Left out: all. */
  wanted?: (path: string) => boolean;
}

/** The key of this machine in {@link Wheel.files}. */
export function platformKey(): string {
  return `${process.platform}-${process.arch}`;
}

/**
 * Fetches a wheel as pip would, and unpacks it, unless it is cached.
 * @returns the folder that holds its files
 * @throws AssetError; also when there is none for this platform
 */
export async function fetchWheel(wheel: Wheel, note: (line: string) => void = () => {}): Promise<string> {
  const { name, version, files, wanted = () => true } = wheel;
  const chosen = files[platformKey()] ?? files.any;
  if (!chosen) throw new AssetError(`${name} ${version} has no wheel for ${platformKey()}`);
  const folder = join(cacheDir(), 'wheels', chosen.file.replace(/\.whl$/, ''));
  await folderOnce(folder, chosen.file, async (partial) => {
    const archive = `${folder}.whl`;
    const integrity = `sha256-${Buffer.from(chosen.sha256, 'hex').toString('base64')}`;
    await fetchFrom(pipIndexes(), { name, file: chosen.file, integrity }, archive, note);
    await unpackZip(archive, partial, wanted);
    return archive;
  });
  return folder;
}

/** Fetches from the first index that has the file. If none has it, the last index' error is thrown. */
async function fetchFrom(
  indexes: readonly Repository[],
  { name, file, integrity }: { name: string; file: string; integrity: string },
  archive: string,
  note: (line: string) => void,
): Promise<void> {
  for (const [index, repository] of indexes.entries()) {
    const address = () => wheelAddress(repository, name, file);
    const remote = { name: file, repository, address, integrity };
    try {
      return await download(remote, archive, new Progress(file, note));
    } catch (error) {
      if (index === indexes.length - 1) throw error;
    }
  }
}

/** https://packaging.python.org/en/latest/specifications/simple-repository-api/ */
async function wheelAddress(repository: Repository, name: string, file: string): Promise<URL> {
  const index = new URL(`${name.toLowerCase().replace(/[-_.]+/g, '-')}/`, repository.url);
  const page = await requestText(repository, index, 'text/html');
  for (const [, href = ''] of page.matchAll(/<a\s[^>]*?href\s*=\s*["']([^"']+)["']/gi)) {
    const url = new URL(href.replaceAll('&amp;', '&'), index);
    url.hash = '';
    if (decodeURIComponent(url.pathname).endsWith(`/${file}`)) return url;
  }
  throw new RepositoryError(`its index has no ${file}`, `check ${repository.remedy.address}`);
}

import { randomUUID } from 'node:crypto';
import { createWriteStream, existsSync } from 'node:fs';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, isAbsolute, join, normalize } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { gunzipSync } from 'node:zlib';
import { AssetError } from './cache.ts';
import { diskError } from './download.ts';

/** Largest inflated archive. The archives that are fetched are far smaller. */
const MAX_TAR_BYTES = 512e6;

/**
 * Creates `folder` unless it exists. It is filled under another name and then renamed. So an interrupted start leaves
 * no half-filled folder, and two starts at the same time do no harm.
 * @param fill writes into the given folder, and may return an archive that is then no longer needed
 * @throws AssetError
 */
export async function folderOnce(
  folder: string,
  name: string,
  fill: (partial: string) => Promise<string | undefined>,
): Promise<void> {
  if (existsSync(folder)) return;
  const partial = `${folder}.${randomUUID()}`;
  try {
    const archive = await fill(partial);
    await rename(partial, folder).catch((error) => {
      if (!existsSync(folder)) throw error; // else another process was faster
    });
    if (archive) await rm(archive, { force: true });
  } catch (cause) {
    // Another process was faster, and removed the archive while this one read it.
    if (existsSync(folder)) return;
    if (cause instanceof AssetError) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw diskError(name, cause as Error) ?? new AssetError(`can't unpack ${name}: ${reason}`, { cause });
  } finally {
    await rm(partial, { recursive: true, force: true });
  }
}

/**
 * Writes some files of an npm tarball, whose files are all under one folder. Executable files stay executable.
 * @throws AssetError when one is absent
 */
export async function unpackTar(archive: Buffer, folder: string, files: readonly string[]): Promise<void> {
  // Copied, since nanotar reads the whole memory of a buffer, even if the buffer is only a part of it.
  const tar = new Uint8Array(gunzipSync(archive, { maxOutputLength: MAX_TAR_BYTES }));
  const { parseTar } = await import('nanotar');
  const entries = new Map(
    parseTar(tar).map((entry) => [entry.name.slice(entry.name.indexOf('/') + 1), entry]),
  );
  for (const file of files) {
    const { data, attrs } = entries.get(file) ?? {};
    if (!data) throw new AssetError(`the package has no ${file}`);
    await mkdir(dirname(join(folder, file)), { recursive: true });
    await writeFile(join(folder, file), data, { mode: modeOf(Number.parseInt(attrs?.mode ?? '0', 8)) });
  }
}

/** Writes the files of a zip archive that `wanted` accepts by their path. Executable files stay executable. */
export async function unpackZip(
  archive: string,
  folder: string,
  wanted: (path: string) => boolean,
): Promise<void> {
  const { default: yauzl } = await import('yauzl');
  const zip = await yauzl.openPromise(archive, { lazyEntries: true });
  try {
    for await (const entry of zip.eachEntry()) {
      const path = normalize(entry.fileName);
      if (entry.fileName.endsWith('/') || !wanted(entry.fileName)) continue;
      if (isAbsolute(path) || path.startsWith('..'))
        throw new AssetError(`${entry.fileName} leaves its folder`);
      const target = join(folder, path);
      await mkdir(dirname(target), { recursive: true });
      const mode = modeOf(entry.externalFileAttributes >>> 16);
      await pipeline(await zip.openReadStreamPromise(entry), createWriteStream(target, { mode }));
    }
  } finally {
    zip.close();
  }
}

/** Keeps only one thing of an archive's file mode: whether the file may be executed. */
const modeOf = (mode: number): number => (mode & 0o100 ? 0o755 : 0o644);

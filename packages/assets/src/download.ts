import { createHash, randomUUID } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { open, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pidSpace, signalProcess } from '@video-pipeline/lifecycle';
import { AssetError, cacheDir, isOffline, makeFolder } from './cache.ts';
import type { Progress } from './progress.ts';
import { type Repository, RepositoryError, request } from './repository.ts';

/** One file to fetch. */
interface RemoteFile {
  /** Its name for a person. */
  name: string;
  repository: Repository;
  /** Called only when the file is not there yet, since it may need a request of its own. */
  address: () => URL | Promise<URL>;
  /** `sha256-<base64>` or `sha512-<base64>`: the hash that the bytes must have. */
  integrity: string;
}

/** Waits before a request with a temporary failure is repeated, milliseconds. */
const PAUSES_MS = [300, 1_000, 3_000];

/**
 * Fetches a file to `path` and verifies it. An interrupted download is resumed. Several processes may fetch the same
 * file at the same time: each writes to a file of its own, and renames it.
 * @throws AssetError
 */
export async function download(file: RemoteFile, path: string, progress: Progress): Promise<void> {
  if ((await sizeOf(path)) > 0 && (await integrityOf(path, file.integrity)) === file.integrity) return;
  if (isOffline())
    throw new AssetError(
      `${file.name} is not in ${cacheDir()}, and nothing may be fetched (--offline): ` +
        `run 'npm run local -- fetch' once with a network`,
    );
  let partial = '';
  try {
    await makeFolder(dirname(path));
    partial = await claimPartial(path);
    await fill(file, partial, progress);
    await rename(partial, path);
  } catch (cause) {
    // After a long pause of this process, another one may have taken over the partial file. Its download is as good.
    const isTaken = isOfDisk(cause) && cause.code === 'ENOENT' && partial !== '' && !existsSync(partial);
    if (isTaken && existsSync(dirname(path))) return download(file, path, progress);
    // The partial file stays for the next attempt, unless the disk is full or can't be written.
    if (isOfDisk(cause)) await rm(partial, { force: true }).catch(() => {});
    else await rename(partial, `${path}${PARTIAL}`).catch(() => {});
    throw explain(file, cause as Error);
  }
}

// Fetches what is missing, and verifies the whole. If a resumed file is wrong, it is fetched again from its start: its
// first part may belong to another file.
async function fill(file: RemoteFile, partial: string, progress: Progress): Promise<void> {
  const resumed = await sizeOf(partial);
  progress.add(resumed);
  await fetchRest(file, partial, progress);
  let got = await integrityOf(partial, file.integrity);
  if (got !== file.integrity && resumed > 0) {
    progress.add(-(await sizeOf(partial)));
    await rm(partial);
    await fetchRest(file, partial, progress);
    got = await integrityOf(partial, file.integrity);
  }
  if (got === file.integrity) return;
  await rm(partial);
  throw new RepositoryError(
    `${(await file.address()).host} sends something else than the pinned file: ${got}, not ${file.integrity}`,
    `a mirror or proxy changes it: check ${file.repository.remedy.address}`,
  );
}

async function fetchRest(file: RemoteFile, partial: string, progress: Progress): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await fetchOnce(file, partial, progress);
    } catch (error) {
      const pause = PAUSES_MS[attempt];
      if (!(error instanceof RepositoryError && error.isTemporary) || pause === undefined) throw error;
      await sleep(pause);
    }
  }
}

async function fetchOnce(file: RemoteFile, partial: string, progress: Progress): Promise<void> {
  const url = await file.address();
  const have = await sizeOf(partial);
  const range: Record<string, string> = have ? { range: `bytes=${have}-` } : {};
  const response = await request(file.repository, url, range).catch(async (error) => {
    // 416: nothing follows the bytes that we have.
    if (have) await rm(partial, { force: true });
    throw error;
  });
  const from = response.statusCode === 206 ? have : 0;
  progress.add(from - have);
  const length = Number(response.headers['content-length'] ?? 0);
  progress.begin(url.host, from + length);
  const target = await open(partial, from ? 'a' : 'w');
  let bytes = 0;
  try {
    for await (const chunk of response) {
      await target.writeFile(chunk);
      bytes += chunk.length;
      progress.add(chunk.length);
    }
  } catch (cause) {
    if (isOfDisk(cause)) throw cause;
    const text = `the answer of ${url.host} broke off after ${from + bytes} of ${from + length} bytes`;
    throw new RepositoryError(text, 'start again: the download resumes there', true, { cause });
  } finally {
    await target.close();
  }
}

const PARTIAL = '.part';
/** A partial file that has not grown for this long, ms, has no writer: a connection without bytes ends far earlier. */
const ABANDONED_MS = 600_000;

/** Takes over a partial file whose process has ended, or names a new one. */
async function claimPartial(path: string): Promise<string> {
  const prefix = basename(path) + PARTIAL;
  const own = `${path}${PARTIAL}-${pidSpace()}-${process.pid}-${randomUUID()}`;
  for (const name of await readdir(dirname(path))) {
    if (!name.startsWith(prefix)) continue;
    if (await isInUse(join(dirname(path), name), name.slice(prefix.length))) continue;
    const isOurs = await rename(join(dirname(path), name), own).then(
      () => true,
      () => false, // another process was faster
    );
    if (isOurs) break;
  }
  return own;
}

/** Whether a process still writes to it; `owner` is `-<space>-<process id>-...`, or nothing. */
async function isInUse(path: string, owner: string): Promise<boolean> {
  const [, space, pid] = owner.split('-');
  if (space === undefined || (space === pidSpace() && !signalProcess(Number(pid), 0))) return false;
  const written = await stat(path).catch(() => undefined);
  return written !== undefined && Date.now() - written.mtimeMs < ABANDONED_MS;
}

async function sizeOf(path: string): Promise<number> {
  return (await stat(path).catch(() => undefined))?.size ?? 0;
}

/** Hash of a file, by the algorithm of `like`. */
export async function integrityOf(path: string, like: string): Promise<string> {
  const algorithm = like.slice(0, like.indexOf('-'));
  const hash = createHash(algorithm);
  for await (const chunk of createReadStream(path)) hash.update(chunk);
  return `${algorithm}-${hash.digest('base64')}`;
}

const FULL = ['ENOSPC', 'EDQUOT', 'EFBIG'];
// ENOENT comes for a folder that can't be created on a read-only file system.
const CLOSED = ['EROFS', 'EACCES', 'EPERM', 'ENOENT', 'ENOTDIR'];

function isOfDisk(error: unknown): error is Error & { code: string } {
  return [...FULL, ...CLOSED].includes((error as NodeJS.ErrnoException).code ?? '');
}

function explain({ name, repository }: RemoteFile, cause: Error): AssetError {
  if (cause instanceof AssetError) return cause;
  const remedy = cause instanceof RepositoryError ? `; ${cause.remedy}` : '';
  const reason = `can't fetch ${name} from ${repository.url.host}: ${cause.message}${remedy}`;
  return diskError(name, cause) ?? new AssetError(reason, { cause });
}

/** The error for a disk that can't store a file; `undefined` for any other error. */
export function diskError(name: string, cause: Error): AssetError | undefined {
  if (!isOfDisk(cause)) return undefined;
  const problem = FULL.includes(cause.code)
    ? 'is full; make room there, or'
    : `can't be written (${cause.code});`;
  return new AssetError(
    `can't store ${name}: ${cacheDir()} ${problem} name another folder with VIDEO_PIPELINE_CACHE`,
    { cause },
  );
}

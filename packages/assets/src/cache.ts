import { randomUUID } from 'node:crypto';
import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { enableCompileCache } from 'node:module';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';

/** A file can't be fetched, stored or trusted. The message is one line: file, host, reason, remedy. */
export class AssetError extends Error {
  override readonly name = 'AssetError';
}

const CHECKOUT = join(import.meta.dirname, '../../..');

/**
 * The folder of everything that is fetched or built once: `VIDEO_PIPELINE_CACHE`, or `.cache` beside package.json, or
 * the user's own cache folder if the checkout can't be written.
 */
export function cacheDir(): string {
  const given = process.env.VIDEO_PIPELINE_CACHE;
  if (given) return resolve(given);
  const own = join(CHECKOUT, '.cache');
  if (existsSync(own) || isWritable(dirname(own))) return own;
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'video-pipeline');
}

/**
 * Makes a folder and its parents. Node's recursive `mkdir` never returns where no folder can be made, as below /proc.
 * @throws Error of the file system
 */
export async function makeFolder(path: string): Promise<void> {
  const above = dirname(path);
  if (!existsSync(above)) await makeFolder(above);
  await mkdir(path).catch((error) => {
    if (!statSync(path, { throwIfNoEntry: false })?.isDirectory()) throw error;
  });
}

/**
 * Writes a file as a whole or not at all, and makes the folders above it. `write` gets a temporary name, of 37
 * characters. The file is then renamed: nobody reads half a file, and two writers at the same time do no harm.
 * @throws Error of the file system, or of `write`
 * @example
 * await writeWhole('.cache/note.txt', (partial) => writeFile(partial, 'a note'));
 */
export async function writeWhole(path: string, write: (partial: string) => Promise<unknown>): Promise<void> {
  await makeFolder(dirname(path));
  const partial = join(dirname(path), `.${randomUUID()}`);
  try {
    await write(partial);
    await rename(partial, path);
  } finally {
    await rm(partial, { force: true, recursive: true });
  }
}

/** File of the default model, which is built once. */
export function defaultModelPath(): string {
  return join(cacheDir(), 'models', 'nanodet-g.onnx');
}

/** Folder of Node's compile cache (`NODE_COMPILE_CACHE`). The cache saves half of the processor time of a start. */
export function compileCacheDir(): string {
  return join(cacheDir(), 'node');
}

/**
 * Keeps compiled modules in `folder`, if it can be written. Call it before all other modules are loaded: loading them
 * then takes half the processor time.
 */
export async function keepCompiled(folder = compileCacheDir()): Promise<void> {
  await makeFolder(folder).then(
    () => enableCompileCache(folder),
    () => {},
  );
}

/** Whether fetching is forbidden: by `VIDEO_PIPELINE_OFFLINE`, or npm's `--offline`. */
export function isOffline(): boolean {
  return ['1', 'true', 'on'].includes(
    process.env.VIDEO_PIPELINE_OFFLINE || process.env.npm_config_offline || '',
  );
}

function isWritable(folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

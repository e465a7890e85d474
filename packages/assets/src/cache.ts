import { accessSync, constants, existsSync } from 'node:fs';
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

/** File of the default model, which is built once. */
export function defaultModelPath(): string {
  return join(cacheDir(), 'models', 'nanodet-g.onnx');
}

/** Folder of Node's compile cache (`NODE_COMPILE_CACHE`). The cache saves half of the processor time of a start. */
export function compileCacheDir(): string {
  return join(cacheDir(), 'node');
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

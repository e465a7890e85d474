import { writeFile } from 'node:fs/promises';
import { resolve, sep } from 'node:path';
import { writeWhole } from '@video-pipeline/assets/cache';
import { readConfig } from '@video-pipeline/config';
import { archiveSpanOf } from '@video-pipeline/frame';
import { aligned, DIRECTORY, positiveInteger, StartError } from '@video-pipeline/local/lightweight';
import {
  createReader,
  type FolderReader,
  keyOf,
  type ListedObject,
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
  return targetCommand('s3-list', 'the newest objects, and how many there are')
    .option('-n, --limit <n>', 'number of objects', positiveInteger, 20)
    .option('--prefix <key>', 'only keys that begin with this (default: S3_PREFIX, or annotated)')
    .action(async ({ limit, json, ...options }: Options & { limit: number }) => {
      const { bucket, prefix, objects } = await open(options);
      const bytes = objects.reduce((sum, { size }) => sum + size, 0);
      const shown = objects.slice(0, limit).map(({ key, size, stored }) => {
        return { key, bytes: size, modified: new Date(stored).toISOString() };
      });
      const found = { bucket, prefix, count: objects.length, bytes, objects: shown };
      if (json) return console.log(JSON.stringify(found));
      const rows = shown.map(({ key, bytes, modified }) => [modified, String(bytes), key]);
      for (const line of aligned([['modified', 'bytes', 'key'], ...rows])) console.log(line);
      console.log(`${objects.length} objects, ${bytes} bytes in ${bucket}/${prefix}`);
    });
}

export function s3DownloadCommand(): Command {
  return targetCommand('s3-download', 'copy the newest annotated frame, or all of them, into a folder')
    .option('--all', 'all frames')
    .option('--to <folder>', 'folder to write to', './download')
    .option('--prefix <key>', 'only keys that begin with this (default: S3_PREFIX, or annotated)')
    .action(async ({ all, to, json, ...options }: Options & { all?: boolean; to: string }) => {
      const { reader, bucket, prefix, objects } = await open(options);
      if (objects.length === 0) throw new StartError(`there is nothing in ${bucket}/${prefix} yet`);
      const folder = resolve(DIRECTORY, to);
      const files: string[] = [];
      for (const { key } of all ? objects : objects.slice(0, 1)) {
        if (archiveSpanOf(key)) files.push(...(await unpack(reader, key, folder, all)));
        else files.push(await save(folder, key, (file) => reader.save(key, file)));
      }
      console.log(json ? JSON.stringify({ files }) : all ? `${files.length} files in ${folder}` : files[0]);
    });
}

/** The bucket, and its objects, the newest first. */
async function open({ prefix, ...target }: Options) {
  const { S3_PREFIX, ...settings } = readConfig(['S3_PREFIX', ...STORAGE_VARIABLES]);
  const reader = createReader(settings, await openS3(target));
  const [bucket, from] = [settings.S3_BUCKET, prefix ?? `${S3_PREFIX}/`];
  const objects = await answerOf(`the bucket ${bucket}`, Array.fromAsync(objectsOf(reader, from)));
  const newest = (a: ListedObject, b: ListedObject) => b.stored - a.stored || b.key.localeCompare(a.key);
  return { reader, bucket, prefix: from, objects: objects.sort(newest) };
}

/** Copies the pictures of an archive, or only its last one, to the keys that they would have as objects. */
async function unpack(reader: FolderReader, key: string, folder: string, all = false): Promise<string[]> {
  const pictures = await picturesIn(reader, key);
  const files: string[] = [];
  for (const picture of all ? pictures : pictures.slice(-1)) {
    const jpeg = await reader.read(key, picture);
    files.push(await save(folder, keyOf(picture), (file) => writeFile(file, jpeg)));
  }
  return files;
}

/** Writes one object to `folder/<key>`, whole or not at all. */
async function save(folder: string, key: string, write: (file: string) => Promise<unknown>): Promise<string> {
  const file = resolve(folder, key);
  // A key may contain `..`, and anybody may have written the object.
  if (!file.startsWith(folder + sep))
    throw new StartError(`the key ${JSON.stringify(key)} leads out of ${folder}`);
  await writeWhole(file, write);
  return file;
}

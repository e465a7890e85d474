import { createWriteStream } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { dirname, join, resolve, sep } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { GetObjectCommand, paginateListObjectsV2, type S3Client } from '@aws-sdk/client-s3';
import { makeFolder } from '@video-pipeline/assets/cache';
import { readConfig } from '@video-pipeline/config';
import { archiveSpanOf } from '@video-pipeline/frame';
import { aligned, DIRECTORY, positiveInteger, StartError } from '@video-pipeline/local/place';
import { createReader, keyOf, picturesIn, STORAGE_VARIABLES } from '@video-pipeline/storage';
import type { Command } from 'commander';
import { answerOf, openS3, type Target } from './running.ts';
import { targetCommand } from './stage.ts';

interface StoredObject {
  key: string;
  bytes: number;
  /** ISO 8601, UTC. */
  modified: string;
}

interface Options extends Target {
  prefix?: string;
}

export function s3ListCommand(): Command {
  return targetCommand('s3-list', 'the newest objects, and how many there are')
    .option('-n, --limit <n>', 'number of objects', positiveInteger, 20)
    .option('--prefix <key>', 'only keys that begin with this (default: S3_PREFIX, or annotated)')
    .action(async ({ limit, json, ...options }: Options & { limit: number }) => {
      const { s3, bucket, prefix } = await open(options);
      const objects = await newestFirst(s3, bucket, prefix);
      const bytes = objects.reduce((sum, object) => sum + object.bytes, 0);
      const shown = objects.slice(0, limit);
      if (json) {
        console.log(JSON.stringify({ bucket, prefix, count: objects.length, bytes, objects: shown }));
        return;
      }
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
      const { s3, bucket, prefix } = await open(options);
      const objects = await newestFirst(s3, bucket, prefix);
      if (objects.length === 0) throw new StartError(`there is nothing in ${bucket}/${prefix} yet`);
      const folder = resolve(DIRECTORY, to);
      const files: string[] = [];
      for (const { key } of all ? objects : objects.slice(0, 1)) {
        if (archiveSpanOf(key)) files.push(...(await unpack(s3, bucket, key, folder, all)));
        else files.push(await download(s3, bucket, key, folder));
      }
      console.log(json ? JSON.stringify({ files }) : all ? `${files.length} files in ${folder}` : files[0]);
    });
}

async function open({ prefix, ...target }: Options) {
  const config = readConfig(['S3_BUCKET', 'S3_PREFIX']);
  const s3 = await openS3(target);
  return { s3, bucket: config.S3_BUCKET, prefix: prefix ?? `${config.S3_PREFIX}/` };
}

async function newestFirst(s3: S3Client, bucket: string, prefix: string): Promise<StoredObject[]> {
  const objects: StoredObject[] = [];
  const pages = paginateListObjectsV2({ client: s3 }, { Bucket: bucket, Prefix: prefix });
  for (const page of await answerOf(`the bucket ${bucket}`, Array.fromAsync(pages))) {
    for (const { Key = '', Size = 0, LastModified } of page.Contents ?? []) {
      objects.push({ key: Key, bytes: Size, modified: LastModified?.toISOString() ?? '' });
    }
  }
  return objects.sort((a, b) => b.modified.localeCompare(a.modified) || b.key.localeCompare(a.key));
}

/** Copies the pictures of an archive, or only its last one, to the keys that they would have as objects. */
async function unpack(
  s3: S3Client,
  bucket: string,
  key: string,
  folder: string,
  all = false,
): Promise<string[]> {
  const reader = createReader({ ...readConfig(STORAGE_VARIABLES), S3_BUCKET: bucket }, s3);
  const pictures = await picturesIn(reader, key);
  const files: string[] = [];
  for (const picture of all ? pictures : pictures.slice(-1)) {
    const jpeg = await reader.read(key, picture);
    files.push(await save(Readable.from([jpeg]), folder, keyOf(picture)));
  }
  return files;
}

async function download(s3: S3Client, bucket: string, key: string, folder: string): Promise<string> {
  const { Body } = await s3.send(new GetObjectCommand({ Bucket: bucket, Key: key }));
  return save(Body as Readable, folder, key);
}

/** Writes one object to `folder/<key>`, whole or not at all. */
async function save(body: Readable, folder: string, key: string): Promise<string> {
  const file = resolve(folder, key);
  // A key may contain `..`, and anybody may have written the object.
  if (!file.startsWith(folder + sep))
    throw new StartError(`the key ${JSON.stringify(key)} leads out of ${folder}`);
  await makeFolder(dirname(file));
  const partial = join(dirname(file), `.${process.pid}.part`);
  try {
    await pipeline(body, createWriteStream(partial));
    await rename(partial, file);
  } finally {
    await rm(partial, { force: true });
  }
  return file;
}

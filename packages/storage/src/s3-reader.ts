import { createWriteStream } from 'node:fs';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { GetObjectCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3';
import { readConfig } from '@video-pipeline/config';
import { findArchived } from './archive.ts';
import { cached } from './cached.ts';
import { NotOursError } from './not-ours-error.ts';
import { type Bucket, type ByteRange, isMissing, objectsOf, type Part } from './reader.ts';
import { picturesOfSegment } from './segment.ts';
import { removeObjects, STORAGE_VARIABLES, type StorageSettings, s3Config } from './store.ts';

/** Most bytes that are read at once: this pipeline's pictures, detections and clips are far smaller. */
const MAX_BYTES = 64 * 1024 * 1024;

/** Bytes of segments' JPEGs that are kept, and how long: after a picture, clients often request the next one. */
const SEGMENTS = { bytes: 128 * 1024 * 1024, ttlMs: 30_000 };

/** The bucket that the settings name. Nothing is sent before it is used. */
export function createReader(
  settings: StorageSettings = readConfig(STORAGE_VARIABLES),
  client = new S3Client(s3Config(settings)),
): Bucket {
  const Bucket = settings.S3_BUCKET;
  const get = async (Key: string, range?: ByteRange): Promise<Buffer> => {
    const Range = range && `bytes=${range.offset}-${range.offset + range.length - 1}`;
    const command = new GetObjectCommand({ Bucket, Key, Range, IfMatch: range?.etag });
    const { Body, ContentLength = 0 } = await client.send(command).catch(ifEmpty);
    if (ContentLength > MAX_BYTES) {
      (Body as Readable | undefined)?.destroy();
      throw new NotOursError(Key, `has ${ContentLength} bytes, over ${MAX_BYTES}`);
    }
    return Buffer.from((await Body?.transformToByteArray()) ?? []);
  };
  const segments = cached(
    async (key) => picturesOfSegment(await get(key), key),
    SEGMENTS.ttlMs,
    SEGMENTS.bytes,
    (jpegs) => jpegs.reduce((sum, { length }) => sum + length, 0),
  );
  const getPart = async (key: string, part?: Part): Promise<Buffer> => {
    if (!part || 'offset' in part) return get(key, part);
    const jpeg = (await segments(key))[part.index];
    if (!jpeg) throw new NotOursError(key, `has no picture ${part.index}`);
    return jpeg;
  };
  const reader: Bucket = {
    async page(Prefix, { after, limit = 1000 } = {}) {
      const request = { Bucket, Prefix, StartAfter: after, MaxKeys: limit };
      const ask = (ContinuationToken?: string) =>
        client.send(new ListObjectsV2Command({ ...request, ContinuationToken }));
      let answer = await ask();
      // A page may be empty although there are more.
      while (answer.NextContinuationToken && !answer.Contents?.length)
        answer = await ask(answer.NextContinuationToken);
      const objects = (answer.Contents ?? []).map(({ Key = '', LastModified, ETag = '', Size = 0 }) => ({
        key: Key,
        stored: LastModified?.getTime() ?? 0,
        etag: ETag,
        size: Size,
      }));
      const last = objects.at(-1);
      if (!answer.IsTruncated || !last) return { objects };
      if (last.key === after) throw new Error(`the S3 API lists ${after} again, asked for what is after it`);
      return { objects, next: last.key };
    },
    async folders(Prefix) {
      const names: string[] = [];
      let ContinuationToken: string | undefined;
      do {
        const command = new ListObjectsV2Command({ Bucket, Prefix, Delimiter: '/', ContinuationToken });
        const { CommonPrefixes = [], NextContinuationToken } = await client.send(command);
        names.push(...CommonPrefixes.map(({ Prefix: name = '' }) => name.slice(Prefix.length, -1)));
        ContinuationToken = NextContinuationToken;
      } while (ContinuationToken);
      return names;
    },
    async save(Key, path) {
      const { Body } = await client.send(new GetObjectCommand({ Bucket, Key }));
      const file = createWriteStream(path);
      await pipeline(Body as Readable, file);
      return file.bytesWritten;
    },
    async read(key, part) {
      try {
        return await getPart(key, part);
      } catch (error) {
        const archived = isMissing(error) && !part ? await findArchived(reader, key) : undefined;
        if (!archived) throw error;
        return getPart(archived.key, archived);
      }
    },
    async *list(prefix) {
      for await (const { key } of objectsOf(reader, prefix)) yield key;
    },
    async head(Key, maxBytes) {
      const command = new GetObjectCommand({ Bucket, Key, Range: `bytes=0-${maxBytes - 1}` });
      const { Body, ContentRange, ContentLength } = await client.send(command).catch(ifEmpty);
      const bytes = Buffer.from((await Body?.transformToByteArray()) ?? []);
      return { bytes, size: Number(ContentRange?.split('/')[1] ?? ContentLength ?? bytes.length) };
    },
    remove: (keys) => removeObjects(client, Bucket, keys),
    close: () => client.destroy(),
  };
  return reader;
}

/** S3 sends no range of an empty object: it has no first byte. */
function ifEmpty(error: Error) {
  if (error.name !== 'InvalidRange') throw error;
  return { Body: undefined, ContentRange: undefined, ContentLength: 0 };
}

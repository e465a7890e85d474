import {
  DeleteObjectCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  NoSuchKey,
  S3Client,
} from '@aws-sdk/client-s3';
import { type StorageSettings, s3Config } from '@video-pipeline/storage';

export interface ListedObject {
  key: string;
  /** When it was stored, epoch ms; S3 gives whole seconds. */
  stored: number;
  etag: string;
}

export interface ListPage {
  objects: ListedObject[];
  /** Present when there is more: what `after` takes to go on. */
  next?: string;
}

/** Reads of one bucket, and the removal of what was put right. */
export interface Bucket {
  /** At most 1000 objects of the folder in key order, those after the key `after` only. */
  page(prefix: string, options?: { after?: string | undefined; limit?: number }): Promise<ListPage>;
  /** All objects of the folder. */
  list(prefix: string): Promise<ListedObject[]>;
  /** Names of the folders directly under `prefix`, without slashes. */
  folders(prefix: string): Promise<string[]>;
  /** The object's bytes; `undefined` when there is none. */
  get(key: string): Promise<Buffer | undefined>;
  remove(key: string): Promise<void>;
  close(): void;
}

/** The bucket that the settings name. Nothing is sent before it is used. */
export function openBucket(settings: StorageSettings): Bucket {
  const client = new S3Client({ ...s3Config(settings), maxAttempts: 2 });
  const Bucket = settings.S3_BUCKET;

  async function page(
    prefix: string,
    { after, limit = 1000 }: { after?: string | undefined; limit?: number } = {},
  ) {
    const command = new ListObjectsV2Command({ Bucket, Prefix: prefix, StartAfter: after, MaxKeys: limit });
    const { Contents = [], IsTruncated } = await client.send(command);
    const objects = Contents.map(({ Key = '', LastModified, ETag = '' }) => ({
      key: Key,
      stored: LastModified?.getTime() ?? 0,
      etag: ETag,
    }));
    const last = objects.at(-1);
    return IsTruncated && last ? { objects, next: last.key } : { objects };
  }

  return {
    page,
    async list(prefix) {
      const all: ListedObject[] = [];
      for (let after: string | undefined; ; ) {
        const { objects, next } = await page(prefix, { after });
        all.push(...objects);
        if (!next) return all;
        after = next;
      }
    },
    async folders(prefix) {
      const names: string[] = [];
      for (let token: string | undefined; ; ) {
        const command = new ListObjectsV2Command({
          Bucket,
          Prefix: prefix,
          Delimiter: '/',
          ContinuationToken: token,
        });
        const answer = await client.send(command);
        for (const { Prefix = '' } of answer.CommonPrefixes ?? [])
          names.push(Prefix.slice(prefix.length, -1));
        token = answer.NextContinuationToken;
        if (!token) return names;
      }
    },
    async get(key) {
      try {
        const { Body } = await client.send(new GetObjectCommand({ Bucket, Key: key }));
        return Body && Buffer.from(await Body.transformToByteArray());
      } catch (error) {
        if (error instanceof NoSuchKey) return undefined;
        throw error;
      }
    },
    async remove(key) {
      await client.send(new DeleteObjectCommand({ Bucket, Key: key }));
    },
    close: () => client.destroy(),
  };
}

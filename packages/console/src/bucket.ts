import { ListObjectsV2Command, NoSuchKey, S3Client } from '@aws-sdk/client-s3';
import { type Bucket, openBucket } from '@video-pipeline/recovery/bucket';
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

interface PageOptions {
  after?: string | undefined;
  limit?: number;
}

/** The bucket as a tool that browses it needs it: with times, from any key on, and by folder. */
export interface ArchiveBucket extends Bucket {
  /** At most 1000 objects of the folder in key order, those after the key `after` only. */
  page(prefix: string, options?: PageOptions): Promise<ListPage>;
  /** All objects of the folder. */
  listAll(prefix: string): Promise<ListedObject[]>;
  /** Names of the folders directly under `prefix`, without slashes. */
  folders(prefix: string): Promise<string[]>;
}

/** Whether an error says that there is no such object. */
export function isMissing(error: unknown): boolean {
  return error instanceof NoSuchKey;
}

/** The bucket that the settings name. Nothing is sent before it is used. */
export function openArchiveBucket(settings: StorageSettings): ArchiveBucket {
  const client = new S3Client({ ...s3Config(settings), maxAttempts: 2 });
  const bucket = openBucket(settings);
  const Bucket = settings.S3_BUCKET;

  async function page(prefix: string, { after, limit = 1000 }: PageOptions = {}): Promise<ListPage> {
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
    ...bucket,
    page,
    async listAll(prefix) {
      const all: ListedObject[] = [];
      let after: string | undefined;
      do {
        const { objects, next } = await page(prefix, { after });
        all.push(...objects);
        after = next;
      } while (after);
      return all;
    },
    async folders(prefix) {
      const names: string[] = [];
      let ContinuationToken: string | undefined;
      do {
        const command = new ListObjectsV2Command({
          Bucket,
          Prefix: prefix,
          Delimiter: '/',
          ContinuationToken,
        });
        const answer = await client.send(command);
        for (const { Prefix = '' } of answer.CommonPrefixes ?? [])
          names.push(Prefix.slice(prefix.length, -1));
        ContinuationToken = answer.NextContinuationToken;
      } while (ContinuationToken);
      return names;
    },
    close() {
      client.destroy();
      bucket.close();
    },
  };
}

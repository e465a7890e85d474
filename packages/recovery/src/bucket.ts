import { DeleteObjectsCommand, GetObjectCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3';
import { type StorageSettings, s3Config } from '@video-pipeline/storage';

/** The bucket as an operator's tool sees it: list, read, delete. */
export interface Bucket {
  /** Keys that begin with `prefix`, in order. */
  list(prefix: string): AsyncIterable<string>;
  read(key: string): Promise<Buffer>;
  remove(keys: string[]): Promise<void>;
  close(): void;
}

/** S3 deletes at most so many objects in a call. */
const DELETE_AT_ONCE = 1000;

export function openBucket(settings: StorageSettings): Bucket {
  const client = new S3Client(s3Config(settings));
  const Bucket = settings.S3_BUCKET;
  return {
    async *list(Prefix) {
      let ContinuationToken: string | undefined;
      do {
        const page = await client.send(new ListObjectsV2Command({ Bucket, Prefix, ContinuationToken }));
        for (const { Key } of page.Contents ?? []) if (Key) yield Key;
        ContinuationToken = page.NextContinuationToken;
      } while (ContinuationToken);
    },
    async read(Key) {
      const { Body } = await client.send(new GetObjectCommand({ Bucket, Key }));
      return Buffer.from((await Body?.transformToByteArray()) ?? []);
    },
    async remove(keys) {
      for (let first = 0; first < keys.length; first += DELETE_AT_ONCE) {
        const Objects = keys.slice(first, first + DELETE_AT_ONCE).map((Key) => ({ Key }));
        await client.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects } }));
      }
    },
    close: () => client.destroy(),
  };
}

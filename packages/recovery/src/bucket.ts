import { DeleteObjectsCommand, S3Client } from '@aws-sdk/client-s3';
import {
  createReader,
  objectsOf,
  type Reader,
  type StorageSettings,
  s3Config,
} from '@video-pipeline/storage';

/** The bucket as an operator's tool sees it: list, read, delete. */
export interface Bucket extends Reader {
  /** Keys that begin with `prefix`, in order. */
  list(prefix: string): AsyncIterable<string>;
  remove(keys: string[]): Promise<void>;
  close(): void;
}

/** S3 deletes at most so many objects in a call. */
const DELETE_AT_ONCE = 1000;

/** The bucket that the settings name. Nothing is sent before it is used. */
export function openBucket(settings: StorageSettings, client = new S3Client(s3Config(settings))): Bucket {
  const reader = createReader(settings, client);
  return {
    ...reader,
    async *list(prefix) {
      for await (const { key } of objectsOf(reader, prefix)) yield key;
    },
    async remove(keys) {
      for (let first = 0; first < keys.length; first += DELETE_AT_ONCE) {
        const Objects = keys.slice(first, first + DELETE_AT_ONCE).map((Key) => ({ Key }));
        await client.send(new DeleteObjectsCommand({ Bucket: settings.S3_BUCKET, Delete: { Objects } }));
      }
    },
    close: () => client.destroy(),
  };
}

import { GetObjectCommand, S3Client } from '@aws-sdk/client-s3';
import {
  createReader,
  type FolderReader,
  objectsOf,
  removeObjects,
  type StorageSettings,
  s3Config,
} from '@video-pipeline/storage';

/** The bucket for operators' tools: list, read, delete. */
export interface Bucket extends FolderReader {
  /** Keys that begin with `prefix`, in order. */
  list(prefix: string): AsyncIterable<string>;
  /** The first `most` bytes of an object, and its whole size. @throws an error that `isMissing` recognises */
  head(key: string, most: number): Promise<{ bytes: Buffer; size: number }>;
  remove(keys: string[]): Promise<void>;
  close(): void;
}

/** The bucket that the settings name. Nothing is sent before it is used. */
export function openBucket(settings: StorageSettings, client = new S3Client(s3Config(settings))): Bucket {
  const reader = createReader(settings, client);
  const Bucket = settings.S3_BUCKET;
  return {
    ...reader,
    async *list(prefix) {
      for await (const { key } of objectsOf(reader, prefix)) yield key;
    },
    async head(Key, most) {
      try {
        const command = new GetObjectCommand({ Bucket, Key, Range: `bytes=0-${most - 1}` });
        const { Body, ContentRange, ContentLength } = await client.send(command);
        const bytes = Buffer.from((await Body?.transformToByteArray()) ?? []);
        return { bytes, size: Number(ContentRange?.split('/')[1] ?? ContentLength ?? bytes.length) };
      } catch (error) {
        // An empty object has no first byte.
        if ((error as Error).name === 'InvalidRange') return { bytes: Buffer.alloc(0), size: 0 };
        throw error;
      }
    },
    remove: (keys) => removeObjects(client, Bucket, keys),
    close: () => client.destroy(),
  };
}

import { GetObjectCommand, ListObjectsV2Command, NoSuchKey, S3Client } from '@aws-sdk/client-s3';
import { readConfig } from '@video-pipeline/config';
import { type ByteRange, findArchived } from './archive.ts';
import { STORAGE_VARIABLES, type StorageSettings, s3Config } from './store.ts';

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

export interface PageOptions {
  /** Only keys that sort after it. */
  after?: string | undefined;
  /** Most objects, up to 1000, which is the default. */
  limit?: number;
}

/** Lists and reads the objects of one bucket. */
export interface Reader {
  /** Objects whose keys begin with `prefix`, in key order. */
  page(prefix: string, options?: PageOptions): Promise<ListPage>;
  /**
   * An object, or these bytes of it. A picture that lies in an archive is read by the key of its own object.
   * @throws an error that {@link isMissing} knows
   */
  read(key: string, range?: ByteRange): Promise<Buffer>;
}

/** All objects whose keys begin with `prefix` and sort after `after`, in key order, asked for page by page. */
export async function* objectsOf(
  reader: Pick<Reader, 'page'>,
  prefix: string,
  after?: string,
): AsyncGenerator<ListedObject> {
  let from = after;
  do {
    const { objects, next } = await reader.page(prefix, { after: from });
    yield* objects;
    from = next;
  } while (from);
}

/** Whether an error says that there is no such object. */
export function isMissing(error: unknown): boolean {
  return error instanceof NoSuchKey;
}

/** A reader of the bucket that the settings name. Nothing is sent before it is used. */
export function createReader(
  settings: StorageSettings = readConfig(STORAGE_VARIABLES),
  client = new S3Client(s3Config(settings)),
): Reader {
  const Bucket = settings.S3_BUCKET;
  const get = async (Key: string, range?: ByteRange): Promise<Buffer> => {
    const Range = range && `bytes=${range.offset}-${range.offset + range.length - 1}`;
    const { Body } = await client.send(new GetObjectCommand({ Bucket, Key, Range }));
    return Buffer.from((await Body?.transformToByteArray()) ?? []);
  };
  const reader: Reader = {
    async page(Prefix, { after, limit = 1000 } = {}) {
      const command = new ListObjectsV2Command({ Bucket, Prefix, StartAfter: after, MaxKeys: limit });
      const { Contents = [], IsTruncated } = await client.send(command);
      const objects = Contents.map(({ Key = '', LastModified, ETag = '' }) => ({
        key: Key,
        stored: LastModified?.getTime() ?? 0,
        etag: ETag,
      }));
      const last = objects.at(-1);
      return IsTruncated && last ? { objects, next: last.key } : { objects };
    },
    async read(key, range) {
      try {
        return await get(key, range);
      } catch (error) {
        const archived = isMissing(error) && !range ? await findArchived(reader, key) : undefined;
        if (!archived) throw error;
        return get(archived.key, archived);
      }
    },
  };
  return reader;
}

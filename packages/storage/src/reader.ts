import { NoSuchKey } from '@aws-sdk/client-s3';
import { hourFolder } from '@video-pipeline/frame';

/** A range of an object, in bytes. */
export interface ByteRange {
  offset: number;
  length: number;
  /** Only of this version of the object. */
  etag?: string;
}

/** A picture in an object: its range of bytes, or its index in a video segment, from 0. */
export type Part = ByteRange | { index: number };

export interface ListedObject {
  key: string;
  /** When it was stored, epoch ms; S3 gives whole seconds. */
  stored: number;
  etag: string;
  /** Bytes. */
  size: number;
}

export interface ListPage {
  objects: ListedObject[];
  /** Present when there is more: the `after` of the next page. */
  next?: string;
}

export interface PageOptions {
  /** Only keys that sort after it. */
  after?: string | undefined;
  /** Most objects, up to 1000, which is the default. */
  limit?: number;
}

export interface Reader {
  /** Objects whose keys begin with `prefix`, in key order. */
  page(prefix: string, options?: PageOptions): Promise<ListPage>;
  /**
   * Reads an object, or a part of it. A part of a video segment is returned as a JPEG. A picture in an archive or a
   * segment can also be read by the key that it would have as an object of its own.
   * @throws an error that {@link isMissing} recognises, or {@link isChanged} where the version is not there any more
   */
  read(key: string, part?: Part): Promise<Buffer>;
}

export interface FolderReader extends Reader {
  /** Names of the folders directly under `prefix`, without slashes. */
  folders(prefix: string): Promise<string[]>;
  /** Writes an object of any size to a file. @returns its bytes. @throws an error that {@link isMissing} knows */
  save(key: string, path: string): Promise<number>;
}

/** The bucket for operators' tools: list, read, delete. */
export interface Bucket extends FolderReader {
  /** Keys that begin with `prefix`, in order. */
  list(prefix: string): AsyncIterable<string>;
  /** The first `maxBytes` bytes of an object, and its whole size. @throws an error that {@link isMissing} recognises */
  head(key: string, maxBytes: number): Promise<{ bytes: Buffer; size: number }>;
  remove(keys: readonly string[]): Promise<void>;
  close(): void;
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

/** The objects under `prefix` of all hours that overlap the time from `from` to `to`, epoch ms, `to` not included. */
export async function* objectsOfHours(
  reader: Pick<Reader, 'page'>,
  prefix: string,
  { from, to }: { from: number; to: number },
): AsyncGenerator<ListedObject> {
  const last = `${prefix}${hourFolder(Math.max(0, to - 1))}/~`;
  for await (const object of objectsOf(reader, prefix, `${prefix}${hourFolder(Math.max(0, from))}/`)) {
    if (object.key > last) return;
    yield object;
  }
}

export function isMissing(error: unknown): boolean {
  return error instanceof NoSuchKey;
}

/** Whether an error says that the object is there in another version than the one that was asked for. */
export function isChanged(error: unknown): boolean {
  return (error as Error).name === 'PreconditionFailed';
}

/** The result of a read; `undefined` if there is no such object. */
export async function ifThere<Result>(read: Promise<Result>): Promise<Result | undefined> {
  try {
    return await read;
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

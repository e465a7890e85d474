import type { ByteRange, ListedObject, Reader } from '@video-pipeline/storage';
import { classesOf, endOf, footerBytes, type RowGroup, rowGroupsOf, TRAILER_BYTES } from './footer.ts';

/** An object of so many tails is read whole. Parts of one that lie closer together are read at once. */
export const NEAR_TAILS = 8;
const REMEDY = "remove it and its day's manifests, and run compact with --all";

/** What one version of an object says of itself. */
export interface Footer {
  /** Classes that its detections have; `undefined` where it does not say. */
  classes: ReadonlySet<string> | undefined;
  groups(): Promise<RowGroup[]>;
  read(range: ByteRange): Promise<Buffer>;
  /** Filters of columns that were asked for. */
  filters: Map<ByteRange, Buffer>;
  bytes: number;
}

/** @param tailBytes of the object that are read first @throws an error that names the object if it is no whole Parquet file */
export async function readFooter(
  bucket: Pick<Reader, 'read'>,
  object: ListedObject,
  tailBytes: number,
): Promise<Footer> {
  const { key, size } = object;
  const length = size <= NEAR_TAILS * tailBytes ? size : tailBytes;
  const tail = await readPart(bucket, object, { offset: size - length, length });
  const bytes = whole(key, () => footerBytes(tail));
  const offset = size - TRAILER_BYTES - bytes;
  if (offset < 0) throw damaged(key);
  const from = size - length;
  const read = async (range: ByteRange) => {
    const at = range.offset - from;
    return at < 0 ? readPart(bucket, object, range) : tail.subarray(at, at + range.length);
  };
  let groups: Promise<RowGroup[]> | undefined;
  const parse = async () => {
    const footer = await read({ offset, length: bytes });
    return whole(key, () => {
      const found = rowGroupsOf(footer);
      if (found.some((group) => !(endOf(group) <= offset))) throw new RangeError('a chunk is cut off');
      return found;
    });
  };
  return {
    classes: whole(key, () => classesOf(tail)),
    groups() {
      groups ??= parse();
      groups.catch(() => {
        groups = undefined;
      });
      return groups;
    },
    filters: new Map(),
    read,
    bytes: bytes + length,
  };
}

async function readPart(
  bucket: Pick<Reader, 'read'>,
  { key, etag }: ListedObject,
  { offset, length }: ByteRange,
): Promise<Buffer> {
  const part = length > 0 ? await bucket.read(key, { offset, length, etag }) : Buffer.alloc(0);
  if (part.length !== length) throw damaged(key);
  return part;
}

/** What is read of the bytes of an object. @throws Error that names the object where they are damaged */
export function whole<Result>(key: string, read: () => Result): Result {
  try {
    return read();
  } catch (cause) {
    throw damaged(key, cause);
  }
}

/** The database would name its copy, not the object. */
function damaged(key: string, cause?: unknown): Error {
  return new Error(`${key} is no whole Parquet file: ${REMEDY}`, { cause });
}

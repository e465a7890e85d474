import { type ByteRange, inTurn, type ListedObject, type Reader } from '@video-pipeline/storage';
import { classesOf, footerBytes, type RowGroup, rowGroupsOf, TRAILER_BYTES } from './footer.ts';

/** An object of up to this many tails is read whole. Parts of an object that are closer together are read at once. */
export const NEAR_TAILS = 8;
const REMEDY = "remove it and its day's manifests, and run compact with --all";
/** Memory of a parsed footer, as a multiple of its bytes. */
const PARSED = 4;

export interface Footer {
  /** Where it begins, and the columns' parts end. */
  offset: number;
  /** Classes that its detections have; `undefined` where it does not say. */
  classes: ReadonlySet<string> | undefined;
  groups(): Promise<RowGroup[]>;
  read(range: ByteRange): Promise<Buffer>;
  /** Runs work on the object's copies one after another. */
  inTurn: ReturnType<typeof inTurn>;
  /** Its size in memory. */
  bytes: number;
}

/** @param tailBytes bytes that are read first @throws Error that names the object if it is no whole Parquet file */
export async function readFooter(
  bucket: Pick<Reader, 'read'>,
  { key, size, etag }: ListedObject,
  tailBytes: number,
): Promise<Footer> {
  const length = size <= NEAR_TAILS * tailBytes ? size : tailBytes;
  const from = size - length;
  const fetch = async (range: ByteRange) => {
    const part = range.length > 0 ? await bucket.read(key, { ...range, etag }) : Buffer.alloc(0);
    if (part.length !== range.length) throw damaged(key);
    return part;
  };
  const tail = await fetch({ offset: from, length });
  const bytes = orDamaged(key, () => footerBytes(tail));
  const offset = size - TRAILER_BYTES - bytes;
  if (offset < 0) throw damaged(key);
  const read = async (range: ByteRange) => {
    const at = range.offset - from;
    return at < 0 ? fetch(range) : tail.subarray(at, at + range.length);
  };
  const parse = async () => {
    const footer = await read({ offset, length: bytes });
    return orDamaged(key, () => rowGroupsOf(footer, offset));
  };
  let groups: Promise<RowGroup[]> | undefined;
  return {
    offset,
    classes: orDamaged(key, () => classesOf(tail)),
    groups() {
      groups ??= parse();
      groups.catch(() => {
        groups = undefined;
      });
      return groups;
    },
    read,
    inTurn: inTurn(),
    bytes: length + PARSED * bytes,
  };
}

/** The result of `read`. @throws Error that names the object if its bytes are damaged */
export function orDamaged<Result>(key: string, read: () => Result): Result {
  try {
    return read();
  } catch (cause) {
    throw damaged(key, cause);
  }
}

/** The database would name its copy, not the object. */
export function damaged(key: string, cause?: unknown): Error {
  return new Error(`${key} is no whole Parquet file: ${REMEDY}`, { cause });
}

import {
  inParallel,
  isMissing,
  type ListedObject,
  ObjectTooLargeError,
  type Reader,
} from '@video-pipeline/storage';
import { datedLines } from './schema.ts';

const READS = 16;
/** Objects of a load: each is a request, however small it is. */
const LOAD_OBJECTS = 5_000;
/** Text that is read at once, bytes. */
const LOAD_BYTES = 16 * 1024 ** 2;

/** Those stored last are last: of two lines for one frame, theirs counts. */
export function byStored(a: ListedObject, b: ListedObject): number {
  return a.stored - b.stored || (a.key < b.key ? -1 : 1);
}

export function sizeOf(objects: readonly ListedObject[]): number {
  return objects.reduce((sum, { size }) => sum + size, 0);
}

/** The objects in their order, in portions that are read at once. */
export function loadsOf(objects: readonly ListedObject[]): Generator<ListedObject[]> {
  return portionsOf(objects, LOAD_BYTES, LOAD_OBJECTS);
}

/** The objects in their order, in portions of at most so many bytes, where one object is not more, and so many objects. */
export function* portionsOf(
  objects: readonly ListedObject[],
  bytes: number,
  most = Number.POSITIVE_INFINITY,
): Generator<ListedObject[]> {
  let portion: ListedObject[] = [];
  let held = 0;
  for (const object of objects) {
    if (portion.length > 0 && (held + object.size > bytes || portion.length === most)) {
      yield portion;
      [portion, held] = [[], 0];
    }
    portion.push(object);
    held += object.size;
  }
  if (portion.length > 0) yield portion;
}

/** What the objects of a portion hold, in their order, as `readLines` and `readEvents` read it. */
export async function linesOf(
  bucket: Pick<Reader, 'read'>,
  objects: readonly ListedObject[],
  signal: AbortSignal | undefined,
): Promise<string> {
  const texts = await inParallel(objects, READS, async ({ key, stored }) => {
    signal?.throwIfAborted();
    return datedLines(await readText(bucket, key), stored);
  });
  return texts.join('');
}

/** An object may expire between its listing and its reading; a huge one is none of annotate's. */
async function readText(bucket: Pick<Reader, 'read'>, key: string): Promise<string> {
  try {
    return (await bucket.read(key)).toString();
  } catch (error) {
    if (isMissing(error) || error instanceof ObjectTooLargeError) return '';
    throw error;
  }
}

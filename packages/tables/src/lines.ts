import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { inParallel, isMissing, type ListedObject, NotOursError, type Reader } from '@video-pipeline/storage';
import { type Database, fileList } from './duckdb.ts';
import { datedLines, EVENT_COLUMNS, LINE_COLUMNS, readEvents, readLines } from './schema.ts';

const READS = 16;
/** Most objects of a load: each costs a request, however small it is. */
const LOAD_OBJECTS = 5_000;
/** Most text that is read at once, bytes. */
const LOAD_BYTES = 16 * 1024 ** 2;

/** Kinds of objects, with their columns and how they are read. */
export const KINDS = {
  lines: { columns: LINE_COLUMNS, read: readLines },
  events: { columns: EVENT_COLUMNS, read: readEvents },
};
export type Kind = keyof typeof KINDS;

/** Sorts by the time of storing: of two lines for one frame, the one stored last counts. */
export function byStored(a: ListedObject, b: ListedObject): number {
  return a.stored - b.stored || (a.key < b.key ? -1 : 1);
}

export function sizeOf(objects: readonly ListedObject[]): number {
  return objects.reduce((sum, { size }) => sum + size, 0);
}

/** The objects in their order, in portions that are small enough to be read at once. */
export function loadsOf(objects: readonly ListedObject[]): Generator<ListedObject[]> {
  return portionsOf(objects, LOAD_BYTES, LOAD_OBJECTS);
}

/** The objects in their order, in portions of at most `limit` objects and `bytes` bytes, or of one larger object. */
export function* portionsOf(
  objects: readonly ListedObject[],
  bytes: number,
  limit = Number.POSITIVE_INFINITY,
): Generator<ListedObject[]> {
  let portion: ListedObject[] = [];
  let held = 0;
  for (const object of objects) {
    if (portion.length > 0 && (held + object.size > bytes || portion.length === limit)) {
      yield portion;
      [portion, held] = [[], 0];
    }
    portion.push(object);
    held += object.size;
  }
  if (portion.length > 0) yield portion;
}

/** Reads a portion's objects into a table of the database. */
export async function insertLines(
  bucket: Pick<Reader, 'read'>,
  database: Database,
  { table, kind, objects }: { table: string; kind: Kind; objects: readonly ListedObject[] },
  signal: AbortSignal | undefined,
): Promise<void> {
  const path = join(database.folder, `${kind}.ndjson`);
  await writeFile(path, await linesOf(bucket, objects, signal));
  await database.run(`INSERT INTO ${table} ${KINDS[kind].read(fileList([path]))}`, signal);
}

/** The text of a portion's objects, in their order, in the form that `readLines` and `readEvents` read. */
async function linesOf(
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

/** An object may expire after it was listed. An object that is too large was not written by annotate. */
async function readText(bucket: Pick<Reader, 'read'>, key: string): Promise<string> {
  try {
    return (await bucket.read(key)).toString();
  } catch (error) {
    if (isMissing(error) || error instanceof NotOursError) return '';
    throw error;
  }
}

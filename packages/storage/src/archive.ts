import { annotatedKey, archiveSpanOf, capturedAtOf, type Frame, hourFolder } from '@video-pipeline/frame';
import { createTar } from 'nanotar';
import { NotOursError } from './not-ours-error.ts';
import { type ByteRange, ifThere, type ListedObject, objectsOf, type Part, type Reader } from './reader.ts';
import { checkNumbers, indexOfSegment, SEGMENT_HEAD, SEGMENT_PICTURES } from './segment.ts';

// An archive is one object for a stream's annotated pictures in a batch. It is an uncompressed TAR in WebDataset's
// layout (https://github.com/webdataset/webdataset): `<captured_at>-<frame_number>.jpg`, followed by its `.json`. Its
// first member holds the position of each picture, and has a name that WebDataset skips.

const INDEX = '__index__';
const BLOCK = 512;
/** Bytes of the first read, to find the index: enough for 250 pictures. */
const HEAD_BYTES = 16 * 1024;
/** Longest time span of an archive, milliseconds. A search for a picture begins this long before its capture time. */
const ARCHIVE_SPAN_MS = 60_000;

export interface Archivable {
  frame: Pick<Frame, 'streamId' | 'capturedAt' | 'frameNumber'>;
  jpeg: Buffer;
  /** The frame's detections, one line of JSON. */
  line: string;
}

/** A picture in an archive or a video segment, with the key of that object. */
type ArchivedPicture = Part & {
  key: string;
  capturedAt: number;
  frameNumber: number;
};

/** Index entry of a picture. `offset` counts from the end of the index. */
type IndexEntry = [capturedAt: number, frameNumber: number, offset: number, length: number];

/**
 * Sorts one stream's pictures by capture time. Cuts them at the end of an hour, since each hour has its own folder, and
 * where an archive would span more than ARCHIVE_SPAN_MS.
 */
export function cutForArchives<Item extends Pick<Archivable, 'frame'>>(items: readonly Item[]): Item[][] {
  const inOrder = items.toSorted((a, b) => a.frame.capturedAt - b.frame.capturedAt);
  const hourOf = ({ frame }: Item) => hourFolder(frame.capturedAt);
  return cutRuns(
    inOrder,
    ([first], item) =>
      hourOf(first) === hourOf(item) && item.frame.capturedAt - first.frame.capturedAt < ARCHIVE_SPAN_MS,
  );
}

type Sized = { frame: Archivable['frame'] & Pick<Frame, 'width' | 'height'> };

/** Longest gap between two pictures of a segment, milliseconds: the longest wait of a batch for records by default. */
const SEGMENT_GAP_MS = 5_000;

/**
 * Cuts as for archives, and also where the size of the pictures changes, where a segment would have too many pictures,
 * and at longer gaps. After a redrive a gap may be long, and one segment around it would hide the segments in the gap.
 */
export function cutForSegments<Item extends Sized>(items: readonly Item[]): Item[][] {
  const isNext = ({ frame: before }: Item, { frame }: Item) =>
    before.width === frame.width &&
    before.height === frame.height &&
    frame.capturedAt - before.capturedAt <= SEGMENT_GAP_MS;
  return cutForArchives(items).flatMap((some) =>
    cutRuns(some, (run, item) => isNext(run.at(-1) as Item, item) && run.length < SEGMENT_PICTURES),
  );
}

/** Cuts items, in their order, into runs. A run ends before the first item that does not fit into it. */
export function cutRuns<Item>(
  items: readonly Item[],
  fits: (run: readonly [Item, ...Item[]], item: Item) => boolean,
): [Item, ...Item[]][] {
  const runs: [Item, ...Item[]][] = [];
  for (const item of items) {
    const run = runs.at(-1);
    if (run && fits(run, item)) run.push(item);
    else runs.push([item]);
  }
  return runs;
}

/**
 * Packs pictures of one stream into the bytes of an archive, and returns each picture's position in them. The same
 * pictures always give the same bytes.
 */
export function packArchive(items: readonly Archivable[]): { body: Buffer; ranges: ByteRange[] } {
  const members = items.flatMap(({ frame, jpeg, line }) => {
    const name = `${frame.capturedAt}-${frame.frameNumber}`;
    const attrs = { mtime: frame.capturedAt };
    return [
      { name: `${name}.jpg`, data: jpeg, attrs },
      { name: `${name}.json`, data: Buffer.from(line), attrs },
    ];
  });
  let end = 0;
  const entries = items.map(({ frame, jpeg, line }): IndexEntry => {
    const offset = end + BLOCK;
    end = offset + padded(jpeg.length) + BLOCK + padded(Buffer.byteLength(line));
    return [frame.capturedAt, frame.frameNumber, offset, jpeg.length];
  });
  const index = Buffer.from(JSON.stringify(entries));
  const attrs = { mtime: items[0]?.frame.capturedAt ?? 0 };
  const begin = BLOCK + padded(index.length);
  return {
    body: Buffer.from(createTar([{ name: INDEX, data: index, attrs }, ...members]).buffer),
    ranges: entries.map(([, , offset, length]) => ({ offset: begin + offset, length })),
  };
}

/**
 * The pictures of an archive or a video segment, in the order of their capture. Only the start of the object is read.
 * Empty if the object has expired since it was listed.
 * @throws NotOursError
 */
export async function picturesIn(reader: Reader, key: string): Promise<ArchivedPicture[]> {
  const isArchive = key.endsWith('.tar');
  const head = await ifThere(reader.read(key, { offset: 0, length: isArchive ? HEAD_BYTES : SEGMENT_HEAD }));
  if (!head) return [];
  if (isArchive) return picturesInArchive(reader, key, head);
  const { frames } = indexOfSegment(head, key);
  return frames.map(([capturedAt, frameNumber], index) => ({ key, capturedAt, frameNumber, index }));
}

async function picturesInArchive(reader: Reader, key: string, head: Buffer): Promise<ArchivedPicture[]> {
  const size = Number.parseInt(head.toString('latin1', 124, 136), 8);
  const isOurs = head.toString('latin1', 0, INDEX.length + 1) === `${INDEX}\0` && size > 0;
  if (!isOurs) throw new NotOursError(key, 'is no archive of this pipeline');
  const rest = BLOCK + size - head.length;
  const more = rest > 0 ? await reader.read(key, { offset: head.length, length: rest }) : Buffer.alloc(0);
  const text = Buffer.concat([head, more]).toString('utf8', BLOCK, BLOCK + size);
  const end = BLOCK + padded(size);
  try {
    const entries: IndexEntry[] = JSON.parse(text);
    checkNumbers(entries);
    return entries.map(([capturedAt, frameNumber, offset, length]) => ({
      key,
      capturedAt,
      frameNumber,
      offset: end + offset,
      length,
    }));
  } catch (cause) {
    throw new NotOursError(key, 'has no index of pictures', { cause });
  }
}

function padded(size: number): number {
  return Math.ceil(size / BLOCK) * BLOCK;
}

/**
 * Objects of a stream's folder that may hold pictures captured from `from` to `to`, epoch milliseconds, in key order.
 * @param folder `<prefix>/<stream>/`
 */
export async function* objectsAround(
  reader: Pick<Reader, 'page'>,
  folder: string,
  from: number,
  to: number,
): AsyncGenerator<ListedObject> {
  // An archive that began earlier may reach into that time.
  const early = Math.max(0, from - ARCHIVE_SPAN_MS);
  // Keys sort by time only among times of as many digits.
  const begins = String(early).length === String(from).length ? early : '';
  const last = `${folder}${hourFolder(to)}/${to}~`;
  for await (const object of objectsOf(reader, folder, `${folder}${hourFolder(early)}/${begins}`)) {
    if (object.key > last) return;
    const begin = capturedAtOf(object.key);
    if (begin <= to && (archiveSpanOf(object.key)?.to ?? begin) >= from) yield object;
  }
}

/**
 * Finds an archived picture by the key that it would have as an object.
 * @returns undefined if no archive holds it
 * @throws NotOursError if no archive of ours holds it, and there is a foreign one
 */
export async function findArchived(reader: Reader, key: string): Promise<ArchivedPicture | undefined> {
  const [, folder = '', time, number] = /^(.+\/)date=[\d-]+\/hour=\d\d\/(\d+)-(\d+)\.jpg$/.exec(key) ?? [];
  if (time === undefined) return undefined;
  const capturedAt = Number(time);
  let foreign: NotOursError | undefined;
  const skip = ifForeign((error) => {
    foreign = error;
    return [];
  });
  for await (const object of objectsAround(reader, folder, capturedAt, capturedAt)) {
    const pictures = archiveSpanOf(object.key) ? await picturesIn(reader, object.key).catch(skip) : [];
    const found = pictures.find((one) => one.capturedAt === capturedAt && one.frameNumber === Number(number));
    if (found) return found;
  }
  if (foreign) throw foreign;
  return undefined;
}

/**
 * Keys of a stream's annotated pictures captured from `from` to `to`, epoch milliseconds, and of some around them. An
 * archived picture has the key that it would have as an object of its own.
 * @param folder `<prefix>/<stream>/`
 * @param onForeign receives the error of an object that is named like an archive, and is none
 */
export async function* pictureKeys(
  reader: Reader,
  folder: string,
  { from, to }: { from: number; to: number },
  onForeign: (error: NotOursError) => void,
): AsyncGenerator<string> {
  const skip = ifForeign((error) => {
    onForeign(error);
    return [];
  });
  for await (const { key } of objectsAround(reader, folder, from, to)) {
    if (!archiveSpanOf(key)) yield key;
    else for (const picture of await picturesIn(reader, key).catch(skip)) yield keyOf(picture);
  }
}

/** Handles the error of a foreign object: `instead` gives the value. Other errors are thrown. */
export function ifForeign<Value>(instead: (error: NotOursError) => Value): (error: Error) => Value {
  return (error) => {
    if (!(error instanceof NotOursError)) throw error;
    return instead(error);
  };
}

/** The key that an archived picture would have as an object of its own. */
export function keyOf({ key, capturedAt, frameNumber }: ArchivedPicture): string {
  const [, prefix = '', streamId = ''] = /^(.+)\/([^/]+)\/date=/.exec(key) ?? [];
  return annotatedKey(prefix, { streamId, capturedAt, frameNumber });
}

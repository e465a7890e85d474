import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import { ifForeign, ifThere, type Reader } from '@video-pipeline/storage';
import { createTar } from 'nanotar';
import { COCO_ANNOTATIONS, COCO_IMAGES, CocoEntries, labelledPoints, textOf } from './formats.ts';
import type { FoundFrame } from './found-frame.ts';
import { inPieces, Spool } from './spool.ts';
import type { Query } from './sql.ts';
import type { Tables } from './tables.ts';

/** Formats of an export. The last two are TARs with the annotated pictures. */
export const FORMATS = ['ndjson', 'csv', 'parquet', 'coco', 'coco-tar', 'yolo-tar'] as const;
export type Format = (typeof FORMATS)[number];

export const MEDIA_TYPES: Record<Format, [type: string, extension: string]> = {
  ndjson: ['application/x-ndjson', 'ndjson'],
  csv: ['text/csv; charset=utf-8', 'csv'],
  parquet: ['application/vnd.apache.parquet', 'parquet'],
  coco: ['application/json', 'json'],
  'coco-tar': ['application/x-tar', 'coco.tar'],
  'yolo-tar': ['application/x-tar', 'yolo.tar'],
};

const PAGE = 1_000;
const READS = 8;
const BLOCK = 512;

/**
 * The result of a search, `query.limit` frames at most, in pieces. Only one page of it is in memory at a time.
 * @param found receives the number of frames so far
 */
export async function* exported(
  tables: Pick<Tables, 'search' | 'parquet'>,
  query: Query,
  format: Format,
  {
    reader,
    found = () => {},
    signal,
  }: { reader: Pick<Reader, 'read'>; found?: (frames: number) => void; signal?: AbortSignal },
): AsyncGenerator<string | Buffer> {
  if (format === 'parquet') {
    const path = await tables.parquet(query, signal);
    try {
      yield* createReadStream(path);
    } finally {
      await rm(path, { force: true });
    }
    return;
  }
  const pages = pagesOf(tables, query, found, signal);
  if (format === 'coco-tar' || format === 'yolo-tar') {
    yield* (format === 'coco-tar' ? cocoSet : yoloSet)(picturedOf(pages, reader));
    yield Buffer.alloc(2 * BLOCK); // the end of the archive
  } else yield* inPieces(textOf[format](framesOf(pages)));
}

/** The frames on all pages of a search, `query.limit` at most. */
export function foundFrames(
  tables: Pick<Tables, 'search'>,
  query: Query,
  signal?: AbortSignal,
): Promise<FoundFrame[]> {
  return Array.fromAsync(framesOf(pagesOf(tables, query, () => {}, signal)));
}

async function* framesOf(pages: AsyncIterable<FoundFrame[]>): AsyncGenerator<FoundFrame> {
  for await (const page of pages) yield* page;
}

async function* pagesOf(
  tables: Pick<Tables, 'search'>,
  query: Query,
  found: (frames: number) => void,
  signal: AbortSignal | undefined,
): AsyncGenerator<FoundFrame[]> {
  let count = 0;
  let { cursor } = query;
  do {
    const pageQuery = { ...query, limit: Math.min(PAGE, query.limit - count), cursor };
    const page = await tables.search(pageQuery, signal);
    count += page.frames.length;
    found(count);
    yield page.frames;
    cursor = page.cursor;
  } while (cursor !== undefined && count < query.limit);
}

interface Pictured {
  frame: FoundFrame;
  /** The picture's name without its extension. */
  stem: string;
  picture: Buffer;
}

async function* picturedOf(
  pages: AsyncIterable<FoundFrame[]>,
  reader: Pick<Reader, 'read'>,
): AsyncGenerator<Pictured> {
  for await (const page of pages) {
    for (let first = 0; first < page.length; first += READS) {
      const some = page.slice(first, first + READS);
      const pictures = await Promise.all(some.map((frame) => pictureOf(frame, reader)));
      for (const [index, frame] of some.entries()) {
        const picture = pictures[index];
        // A picture that has expired, or whose object is foreign, is left out, with its detections.
        if (picture) yield { frame, stem: stemOf(frame), picture };
      }
    }
  }
}

function pictureOf({ annotated_key, archive }: FoundFrame, reader: Pick<Reader, 'read'>) {
  const reading = archive ? reader.read(archive.key, archive) : reader.read(annotated_key);
  return ifThere(reading).catch(ifForeign(() => undefined));
}

/** The names in a TAR's header have at most 100 bytes. */
function stemOf({ stream_id, captured_at, frame_number }: FoundFrame): string {
  const stream =
    stream_id.length <= 40 ? stream_id : createHash('sha256').update(stream_id).digest('hex').slice(0, 40);
  return `${stream}-${captured_at}-${frame_number}`;
}

/** A member of a TAR, without the blocks that end the archive. */
function member(name: string, data: string | Buffer): Buffer {
  const bytes = Buffer.from(data as string);
  return Buffer.concat([headerOf(name, bytes.length), bytes, paddingOf(bytes.length)]);
}

/** A member of a TAR of `size` bytes that is not held in memory. */
async function* streamed(name: string, size: number, pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  yield headerOf(name, size);
  yield* pieces;
  yield paddingOf(size);
}

const paddingOf = (size: number) => Buffer.alloc((BLOCK - (size % BLOCK)) % BLOCK);
/** Fields of a TAR's header: https://www.gnu.org/software/tar/manual/html_node/Standard.html */
const SIZE = { offset: 124, length: 12 };
const CHECKSUM = { offset: 148, length: 8 };
/** From this size on, eleven octal digits are too few, and GNU's binary form is used. */
const OCTAL_END = 8 ** 11;

function headerOf(name: string, size: number): Buffer {
  const header = Buffer.from(createTar([{ name, data: '', attrs: { mtime: 0 } }]).buffer, 0, BLOCK);
  if (size < OCTAL_END) header.write(`${size.toString(8).padStart(11, '0')}\0`, SIZE.offset);
  else {
    header.fill(0, SIZE.offset, SIZE.offset + SIZE.length).writeUInt8(0x80, SIZE.offset);
    header.writeBigUInt64BE(BigInt(size), SIZE.offset + SIZE.length - 8);
  }
  header.fill(' ', CHECKSUM.offset, CHECKSUM.offset + CHECKSUM.length);
  const sum = header.reduce((all, byte) => all + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, CHECKSUM.offset);
  return header;
}

/** The annotations contain the pictures' names in the TAR. They come last, since their size is unknown before. */
async function* cocoSet(frames: AsyncIterable<Pictured>): AsyncGenerator<Buffer> {
  await using images = await Spool.open();
  await using annotations = await Spool.open();
  const entries = new CocoEntries();
  await images.write(COCO_IMAGES);
  for await (const { frame, stem, picture } of frames) {
    const name = `images/${stem}.jpg`;
    yield member(name, picture);
    const text = entries.of(frame, name);
    await images.write(text.image);
    await annotations.write(text.annotations);
  }
  await images.write(COCO_ANNOTATIONS);
  await annotations.write(entries.categories());
  const size = (await images.size()) + (await annotations.size());
  yield* streamed('annotations.json', size, inTurn(images.read(), annotations.read()));
}

async function* inTurn(...all: AsyncIterable<Buffer>[]): AsyncGenerator<Buffer> {
  for (const one of all) yield* one;
}

/**
 * Ultralytics' layout: https://docs.ultralytics.com/datasets. Classes are numbered from 0, as they first appear.
 * A label is an outline (or oriented box), a box with key points, or a box. data.yaml comes last.
 */
async function* yoloSet(frames: AsyncIterable<Pictured>): AsyncGenerator<Buffer> {
  const names = new Map<string, number>();
  let keypointCount = 0;
  for await (const { frame, stem, picture } of frames) {
    const { width, height, detections } = frame;
    // An object or corner may reach beyond the picture; a label may not.
    const shares = (places: readonly number[]) =>
      places.map((place, axis) => Math.min(1, Math.max(0, place / (axis % 2 ? height : width))));
    // In a file with outlines, every label is read as an outline. So the corners of a box are written there.
    const areOutlines = detections.some(({ polygon }) => polygon);
    const lines = detections.map(({ class_name, bbox, polygon, keypoints }) => {
      if (!names.has(class_name)) names.set(class_name, names.size);
      const [left, top, right, bottom] = bbox;
      const [x1 = 0, y1 = 0, x2 = 0, y2 = 0] = shares(bbox);
      const box = [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1];
      const outline = polygon?.flat() ?? [left, top, right, top, right, bottom, left, bottom];
      if (keypoints) keypointCount = keypoints.length;
      const points = labelledPoints(keypoints ?? []).flatMap(([x, y, label]) => [...shares([x, y]), label]);
      const values = areOutlines ? shares(outline) : [...box, ...points];
      return `${names.get(class_name)} ${values.map((share) => share.toFixed(6)).join(' ')}\n`;
    });
    yield member(`images/${stem}.jpg`, picture);
    yield member(`labels/${stem}.txt`, lines.join(''));
  }
  // JSON is YAML.
  const classes = Object.fromEntries([...names].map(([name, index]) => [index, name]));
  // Without `path`, the folders are those beside this file.
  const pose = keypointCount > 0 ? { kpt_shape: [keypointCount, 3] } : {};
  const data = { train: 'images', val: 'images', names: classes, ...pose };
  yield member('data.yaml', `${JSON.stringify(data, null, 2)}\n`);
}

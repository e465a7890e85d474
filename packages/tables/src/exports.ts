import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import { isMissing, type Reader } from '@video-pipeline/storage';
import { createTar } from 'nanotar';
import { type Exporter, writer } from './formats.ts';
import type { FoundFrame, Query, Tables } from './tables.ts';

/** What a search's result is exported as. The last two are TARs with the annotated pictures. */
export const FORMATS = ['ndjson', 'csv', 'parquet', 'coco', 'coco-tar', 'yolo-tar'] as const;
export type Format = (typeof FORMATS)[number];

const MEDIA_TYPES: Record<Format, [type: string, extension: string]> = {
  ndjson: ['application/x-ndjson', 'ndjson'],
  csv: ['text/csv; charset=utf-8', 'csv'],
  parquet: ['application/vnd.apache.parquet', 'parquet'],
  coco: ['application/json', 'json'],
  'coco-tar': ['application/x-tar', 'coco.tar'],
  'yolo-tar': ['application/x-tar', 'yolo.tar'],
};

export function mediaTypeOf(format: Format): { type: string; extension: string } {
  const [type, extension] = MEDIA_TYPES[format];
  return { type, extension };
}

/** Frames that are asked for at once. */
const PAGE = 1_000;
const READS = 8;
const BLOCK = 512;

/**
 * What a search finds, `query.limit` frames at most, piece by piece: however much it is, only a page of it is in memory.
 * @param found is told how many frames there were so far
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
  if (format === 'coco-tar') yield* tarOf(pages, reader, coco());
  else if (format === 'yolo-tar') yield* tarOf(pages, reader, yolo());
  else {
    const { begin, frame, end } = writer(format);
    yield begin();
    for await (const page of pages) yield page.map(frame).join('');
    yield end();
  }
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
    const page = await tables.search(
      { ...query, limit: Math.min(PAGE, query.limit - count), cursor },
      signal,
    );
    count += page.frames.length;
    found(count);
    yield page.frames;
    cursor = page.cursor;
  } while (cursor !== undefined && count < query.limit);
}

/** What stands beside the pictures of a data set. */
interface DataSet {
  /** Files of one frame besides its picture. @param stem the picture's name without its extension */
  frame(frame: FoundFrame, stem: string): Member[];
  /** Files that come last, as only then everything is known. */
  end(): Member[];
}
interface Member {
  name: string;
  data: string | Buffer;
}

async function* tarOf(
  pages: AsyncIterable<FoundFrame[]>,
  reader: Pick<Reader, 'read'>,
  set: DataSet,
): AsyncGenerator<Buffer> {
  for await (const page of pages) {
    for (let first = 0; first < page.length; first += READS) {
      const some = page.slice(first, first + READS);
      const pictures = await Promise.all(some.map((frame) => pictureOf(frame, reader)));
      for (const [index, frame] of some.entries()) {
        const data = pictures[index];
        // One that has expired is left out, with what was seen in it.
        if (!data) continue;
        const stem = stemOf(frame);
        yield member({ name: `images/${stem}.jpg`, data });
        for (const one of set.frame(frame, stem)) yield member(one);
      }
    }
  }
  for (const one of set.end()) yield member(one);
  yield Buffer.alloc(2 * BLOCK);
}

async function pictureOf(
  { annotated_key, archive }: FoundFrame,
  reader: Pick<Reader, 'read'>,
): Promise<Buffer | undefined> {
  try {
    return await (archive ? reader.read(archive.key, archive) : reader.read(annotated_key));
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** A TAR's header holds names of 100 bytes. */
function stemOf({ stream_id, captured_at, frame_number }: FoundFrame): string {
  const stream =
    stream_id.length <= 40 ? stream_id : createHash('sha256').update(stream_id).digest('hex').slice(0, 40);
  return `${stream}-${captured_at}-${frame_number}`;
}

/** A member of a TAR without the end that follows the last. */
function member({ name, data }: Member): Buffer {
  const bytes = Buffer.from(data as string);
  const size = BLOCK + Math.ceil(bytes.length / BLOCK) * BLOCK;
  return Buffer.from(createTar([{ name, data: bytes, attrs: { mtime: 0 } }]).buffer, 0, size);
}

/** The annotations name the pictures as they lie in the TAR. */
function coco(): DataSet {
  const { begin, frame, end }: Exporter = writer('coco');
  const images: string[] = [begin()];
  return {
    frame(one, stem) {
      images.push(frame({ ...one, annotated_key: `images/${stem}.jpg` }));
      return [];
    },
    end: () => [{ name: 'annotations.json', data: [...images, end()].join('') }],
  };
}

/**
 * Ultralytics' layout: https://docs.ultralytics.com/datasets/detect. Classes are numbered as they were first seen, from 0.
 * @see data.yaml, which comes last
 */
function yolo(): DataSet {
  const names = new Map<string, number>();
  return {
    frame({ width, height, detections }, stem) {
      const lines = detections.map(({ class_name, bbox: [x1, y1, x2, y2] }) => {
        if (!names.has(class_name)) names.set(class_name, names.size);
        const box = [(x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height];
        return `${names.get(class_name)} ${box.map((share) => Math.min(1, Math.max(0, share)).toFixed(6)).join(' ')}\n`;
      });
      return [{ name: `labels/${stem}.txt`, data: lines.join('') }];
    },
    end() {
      // JSON is YAML.
      const classes = Object.fromEntries([...names].map(([name, index]) => [index, name]));
      const data = { path: '.', train: 'images', val: 'images', names: classes };
      return [{ name: 'data.yaml', data: `${JSON.stringify(data, null, 2)}\n` }];
    },
  };
}

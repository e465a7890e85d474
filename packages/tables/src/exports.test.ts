import { copyFile, readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { annotatedKey, detectionsKey } from '@video-pipeline/frame';
import { NotOursError } from '@video-pipeline/storage';
import { parseTar } from 'nanotar';
import { expect, test } from 'vitest';
import { MemoryBucket } from '../../../test/support/memory-bucket.ts';
import { openDatabase } from './duckdb.ts';
import { exported, type Format } from './exports.ts';
import type { FoundFrame } from './found-frame.ts';
import { Tables } from './tables.ts';

const START = Date.UTC(2026, 10, 25, 7);

/** Two frames with pictures, one whose picture has expired. */
async function filled(boxes = 1) {
  const bucket = new MemoryBucket();
  const lines = [0, 1, 2].map((number) => {
    const frame = { streamId: 'yard', capturedAt: START + number, frameNumber: number };
    const seen = { class_id: 7, class_name: number ? 'dog' : 'cat', confidence: 0.5, bbox: [10, 20, 30, 60] };
    return {
      stream_id: 'yard',
      session: 's',
      frame_number: number,
      captured_at: frame.capturedAt,
      width: 100,
      height: 80,
      model: 'm',
      detections: Array.from({ length: boxes }, () => seen),
      annotated_key: annotatedKey('annotated', frame),
    };
  });
  const key = detectionsKey({ streamId: 'yard', capturedAt: START }, { topic: 'd', partition: 0, offset: 0 });
  await bucket.put({ key, body: lines.map((line) => `${JSON.stringify(line)}\n`).join('') });
  for (const { annotated_key, frame_number } of lines.slice(0, 2))
    await bucket.put({ key: annotated_key, body: `picture ${frame_number}` });
  return bucket;
}

async function exportOf(format: Format, foreign?: string): Promise<Buffer> {
  const bucket = await filled();
  const read = bucket.read.bind(bucket);
  bucket.read = async (key, part) => {
    if (foreign && key.endsWith(foreign)) throw new NotOursError(key, 'is no video segment of this pipeline');
    return read(key, part);
  };
  const tables = new Tables(bucket);
  const query = { confidence: 0, from: START, to: START + 1_000, limit: 100 };
  const pieces: Buffer[] = [];
  for await (const piece of exported(tables, query, format, { reader: bucket }))
    pieces.push(Buffer.from(piece));
  await tables.close();
  return Buffer.concat(pieces);
}

const filesOf = (tar: Buffer) =>
  new Map(parseTar(new Uint8Array(tar).buffer).map(({ name, text }) => [name, text]));

test('a YOLO export is a TAR of pictures, labels relative to the picture, and numbered classes', async () => {
  const tar = await exportOf('yolo-tar');
  expect(tar.length % 512).toBe(0);
  const files = filesOf(tar);
  expect([...files.keys()]).toEqual([
    `images/yard-${START + 1}-1.jpg`,
    `labels/yard-${START + 1}-1.txt`,
    `images/yard-${START}-0.jpg`,
    `labels/yard-${START}-0.txt`,
    'data.yaml',
  ]);
  expect(files.get(`images/yard-${START}-0.jpg`)).toBe('picture 0');
  expect(files.get(`labels/yard-${START}-0.txt`)).toBe('1 0.200000 0.500000 0.200000 0.500000\n');
  // A `path` of `.` would be the folder that training is started in.
  expect(JSON.parse(files.get('data.yaml') ?? '')).toEqual({
    train: 'images',
    val: 'images',
    names: { 0: 'dog', 1: 'cat' },
  });
});

test('a picture behind a foreign object is omitted, and the others are exported', async () => {
  const files = filesOf(await exportOf('yolo-tar', '-1.jpg'));
  expect([...files.keys()]).toEqual([
    `images/yard-${START}-0.jpg`,
    `labels/yard-${START}-0.txt`,
    'data.yaml',
  ]);
});

test("a YOLO export has outlines and keypoints in Ultralytics' format", async () => {
  const box = { class_id: 0, class_name: 'dog', confidence: 0.9, bbox: [10, 20, 30, 60] } as const;
  const frame = (frame_number: number, detections: unknown[]) =>
    ({
      ...{ stream_id: 'yard', session: 's', frame_number, captured_at: START, model: 'm' },
      ...{ width: 100, height: 80, annotated_key: `annotated/${frame_number}.jpg`, detections },
    }) as FoundFrame;
  const outline = [
    [10, 20],
    [-5, 60],
    [30, 60],
  ];
  const keypoints = [
    [50, 40, 0.9],
    [60, 70, 0.1],
  ];
  const frames = [frame(0, [{ ...box, polygon: outline }, box]), frame(1, [{ ...box, keypoints }])];
  const tables = {
    search: async () => ({ frames, searched_to: 0 }),
    parquet: () => Promise.reject(new Error('not asked for')),
  };
  const query = { confidence: 0, from: START, to: START + 1, limit: 10 };
  const reader = { read: async () => Buffer.from('picture') };
  const pieces = await Array.fromAsync(exported(tables, query, 'yolo-tar', { reader }), (one) =>
    Buffer.from(one),
  );
  const files = filesOf(Buffer.concat(pieces));
  const numbers = (at: number) =>
    files
      .get(`labels/yard-${START}-${at}.txt`)
      ?.trim()
      .split('\n')
      .map((line) => line.split(' ').map(Number));
  expect(numbers(0)).toEqual([
    [0, 0.1, 0.25, 0, 0.75, 0.3, 0.75],
    [0, 0.1, 0.25, 0.3, 0.25, 0.3, 0.75, 0.1, 0.75],
  ]);
  expect(numbers(1)).toEqual([[0, 0.2, 0.5, 0.2, 0.5, 0.5, 0.5, 2, 0, 0, 0]]);
  expect(JSON.parse(files.get('data.yaml') ?? '')).toMatchObject({ kpt_shape: [2, 3] });
});

test('a COCO export with pictures names each picture in the TAR, and omits expired ones', async () => {
  const files = filesOf(await exportOf('coco-tar'));
  const { images, annotations } = JSON.parse(files.get('annotations.json') ?? '');
  expect(images).toHaveLength(2);
  for (const { file_name } of images) expect(files.has(file_name)).toBe(true);
  expect(annotations[1]).toMatchObject({ image_id: 2, bbox: [10, 20, 20, 40] });
});

test('a Parquet export has the columns of the detections, and its temporary file is deleted', async () => {
  const bytes = await exportOf('parquet');
  expect(bytes.toString('latin1', 0, 4)).toBe('PAR1');
  expect(bytes.includes('annotated_key')).toBe(true);
});

test('a Parquet export is limited by frames, and omits the oldest', async () => {
  const tables = new Tables(await filled(2));
  const path = await tables.parquet({ confidence: 0, classes: [], from: START, to: START + 1_000, limit: 2 });
  const database = await openDatabase();
  // It reads its own folder alone.
  const copy = join(database.folder, 'copy.parquet');
  await copyFile(path, copy);
  const rows = await database.run(`SELECT frame_number FROM read_parquet('${copy}') ORDER BY 1`);
  expect(rows.map(({ frame_number }) => Number(frame_number))).toEqual([1, 1, 2, 2]);
  await Promise.all([tables.close(), database.close()]);
});

test.each<Format>(['ndjson', 'csv', 'coco', 'coco-tar'])(
  'a large export as %s is sent in pieces',
  async (format) => {
    const [pages, boxes] = [12, 1_000];
    const tables = {
      // A page is one frame full of things.
      async search({ cursor = '0' }: { cursor?: string | undefined }) {
        const number = Number(cursor);
        const seen = { class_id: 0, class_name: 'bird', confidence: 0.5, bbox: [1, 2, 3, 4] as const };
        const frame: FoundFrame = {
          ...{ stream_id: 'yard', session: 's', frame_number: number, captured_at: START + number },
          ...{ width: 100, height: 80, model: 'm', annotated_key: `annotated/${number}.jpg` },
          detections: Array.from({ length: boxes }, () => ({ ...seen, bbox: [...seen.bbox] })),
        };
        return { frames: [frame], searched_to: 0, ...(number + 1 < pages && { cursor: String(number + 1) }) };
      },
      parquet: () => Promise.reject(new Error('not asked for')),
    };
    const query = { confidence: 0, from: START, to: START + pages, limit: 1_000 };
    const reader = { read: async () => Buffer.from('picture') };
    const pieces: Buffer[] = [];
    for await (const piece of exported(tables, query, format, { reader })) pieces.push(Buffer.from(piece));
    const all = Buffer.concat(pieces);
    expect(Math.max(...pieces.map(({ length }) => length))).toBeLessThan(all.length / 4);
    if (format === 'coco' || format === 'coco-tar') {
      const text = format === 'coco' ? all.toString() : filesOf(all).get('annotations.json');
      const { images, annotations } = JSON.parse(text ?? '');
      expect(images).toHaveLength(pages);
      expect(annotations.map(({ id }: { id: number }) => id)).toEqual(
        Array.from({ length: pages * boxes }, (_, index) => index + 1),
      );
      expect(annotations.at(-1).image_id).toBe(pages);
    }
  },
);

test('a Parquet export that is aborted leaves no file', async () => {
  const tables = new Tables(await filled(20_000));
  await tables.warm();
  const own = new RegExp(`^video-pipeline-tables-.*-${process.pid}-`);
  const folders = (await readdir(tmpdir())).filter((name) => own.test(name));
  const files = async () => {
    const names = await Promise.all(folders.map((name) => readdir(join(tmpdir(), name))));
    return names.flat().filter((name) => name.startsWith('export-'));
  };
  const stop = new AbortController();
  const query = { confidence: 0, from: START, to: START + 1_000, limit: 100 };
  const given = tables.parquet(query, stop.signal).catch((error: Error) => error);
  while ((await files()).length === 0) await sleep(1);
  stop.abort(new Error('the client has gone'));
  expect(await given).toMatchObject({ message: 'the client has gone' });
  expect(await files()).toEqual([]);
  await tables.close();
});

import { Readable } from 'node:stream';
import { expect, test } from 'vitest';
import { TEXTS, type TextFormat, textOf as texts } from './formats.ts';
import type { FoundFrame } from './found-frame.ts';
import { inPieces } from './spool.ts';

const frame = (frame_number: number, names: string[]): FoundFrame => ({
  stream_id: 'yard',
  session: 's',
  frame_number,
  captured_at: Date.UTC(2026, 10, 25, 7, 0, frame_number),
  width: 640,
  height: 480,
  model: 'm',
  annotated_key: `annotated/yard/${frame_number}.jpg`,
  detections: names.map((class_name, class_id) => ({
    class_id,
    class_name,
    confidence: 0.75,
    bbox: [1, 2, 11.5, 22],
  })),
});
const frames = [frame(0, ['cat', 'a "b", c']), frame(1, []), frame(2, ['=HYPERLINK("x")', 'cat'])];

async function textOf(format: TextFormat, found: FoundFrame[]): Promise<string> {
  const pieces = await Array.fromAsync(inPieces(texts[format](Readable.from(found))));
  return pieces.join('');
}

test('NDJSON has the frames unchanged', async () => {
  const lines = (await textOf('ndjson', frames)).trimEnd().split('\n');
  expect(lines.map((line) => JSON.parse(line))).toEqual(frames);
});

test('CSV has a line for each detection, quotes fields, and starts no field with a formula', async () => {
  const lines = (await textOf('csv', frames)).trimEnd().split('\r\n');
  expect(lines).toHaveLength(6);
  expect(lines[2]).toBe(
    'yard,s,0,2026-11-25T07:00:00.000Z,1,"a ""b"", c",0.75,1,2,11.5,22,,annotated/yard/0.jpg',
  );
  expect(lines[3]).toBe('yard,s,1,2026-11-25T07:00:01.000Z,,,,,,,,,annotated/yard/1.jpg');
  expect(lines[4]).toContain(`"'=HYPERLINK(""x"")"`);
});

test.each(['=1+1', '+1', '-1+1', '-x', '@SUM(A1)', '\t=1'])(
  'in CSV the class %j is text for a spreadsheet',
  async (name) => {
    const [, line = ''] = (await textOf('csv', [frame(0, [name])])).split('\r\n');
    expect(line.split(',')[5]).toBe(`'${name}`);
  },
);

test('COCO has images, annotations that refer to them, and categories numbered from 1', async () => {
  const coco = JSON.parse(await textOf('coco', frames));
  expect(coco.images.map(({ id, file_name }: { id: number; file_name: string }) => [id, file_name])).toEqual([
    [1, 'annotated/yard/0.jpg'],
    [2, 'annotated/yard/1.jpg'],
    [3, 'annotated/yard/2.jpg'],
  ]);
  expect(coco.annotations).toHaveLength(4);
  expect(coco.annotations[3]).toMatchObject({
    id: 4,
    image_id: 3,
    category_id: 1,
    bbox: [1, 2, 10.5, 20],
    area: 210,
    iscrowd: 0,
  });
  expect(coco.categories.map(({ name }: { name: string }) => name)).toEqual([
    'cat',
    'a "b", c',
    '=HYPERLINK("x")',
  ]);
});

test('COCO has outlines as segmentation, and confident keypoints as visible', async () => {
  const [one] = frames;
  const [detection] = one?.detections ?? [];
  if (!one || !detection) throw new Error('no detection');
  const polygon: [number, number][] = [
    [0, 0],
    [10, 0],
    [0, 8],
  ];
  const keypoints = [
    [3, 4, 0.9],
    [5, 6, 0.2],
  ];
  const { annotations } = JSON.parse(
    await textOf('coco', [{ ...one, detections: [{ ...detection, polygon, keypoints }, detection] }]),
  );
  expect(annotations[0]).toMatchObject({
    segmentation: [[0, 0, 10, 0, 0, 8]],
    area: 40,
    keypoints: [3, 4, 2, 0, 0, 0],
    num_keypoints: 1,
  });
  expect(Object.keys(annotations[1])).not.toContain('segmentation');
});

test.each(TEXTS)('%s without frames is valid, too', async (format) => {
  const text = await textOf(format, []);
  if (format === 'coco')
    expect(JSON.parse(text)).toMatchObject({ images: [], annotations: [], categories: [] });
  else expect(text.trim().split('\n').length).toBe(1);
});

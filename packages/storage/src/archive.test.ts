import { spawnSync } from 'node:child_process';
import { NoSuchKey } from '@aws-sdk/client-s3';
import { annotatedKey, archiveKey } from '@video-pipeline/frame';
import { describe, expect, test } from 'vitest';
import { type Archivable, cutForArchives, findArchived, packArchive, pictureKeys } from './archive.ts';
import { hasPictureSince, picturesOf } from './pictures.ts';
import type { Reader } from './reader.ts';

const T0 = Date.UTC(2026, 10, 25, 7, 59, 59);
const item = (index: number, bytes = 600 + Math.abs(index)): Archivable => ({
  frame: { streamId: 'yard', frameNumber: index, capturedAt: T0 + index * 100 },
  jpeg: Buffer.alloc(bytes, index),
  line: JSON.stringify({ frame_number: index }),
});

/** A bucket with these items in archives of ten, and the requests that it got. */
function bucketOf(items: readonly Archivable[]) {
  const objects = new Map<string, Buffer>();
  for (let at = 0; at < items.length; at += 10) {
    const some = items.slice(at, at + 10);
    const [first, last] = [some[0]?.frame, some.at(-1)?.frame];
    if (!first || !last) continue;
    const key = archiveKey('annotated', first, last, {
      topic: 'detections',
      partition: 0,
      offset: at,
      last: at + some.length - 1,
    });
    objects.set(key, packArchive(some).body);
  }
  let bytesRead = 0;
  const reader: Reader = {
    async page(prefix, { after = '', limit = 1000 } = {}) {
      const keys = [...objects.keys()].filter((key) => key.startsWith(prefix) && key > after).sort();
      return { objects: keys.slice(0, limit).map((key) => ({ key, stored: 0, etag: '', size: 0 })) };
    },
    async read(key, part) {
      const range = part && 'offset' in part ? part : { offset: 0, length: Number.MAX_SAFE_INTEGER };
      const body = objects.get(key)?.subarray(range.offset, range.offset + range.length);
      if (!body) throw new NoSuchKey({ message: 'gone', $metadata: {} });
      bytesRead += body.length;
      return body;
    },
  };
  return { reader, objects, bytesRead: () => bytesRead };
}

const raise = (error: Error) => {
  throw error;
};
const keyOf = (index: number) =>
  annotatedKey('annotated', { streamId: 'yard', frameNumber: index, capturedAt: T0 + index * 100 });

describe('an archive', () => {
  test('is a TAR in which each picture is followed by its detections', () => {
    const { body, ranges } = packArchive([item(1), item(2, 512), item(3, 1)]);
    const listed = spawnSync('tar', ['-tf', '-'], { input: body, encoding: 'utf8' });
    const names = [1, 2, 3].flatMap((n) => [`${T0 + n * 100}-${n}.jpg`, `${T0 + n * 100}-${n}.json`]);
    expect(listed.stdout.trim().split('\n').slice(1)).toEqual(names);
    const json = spawnSync('tar', ['-xOf', '-', `${T0 + 200}-2.json`], { input: body, encoding: 'utf8' });
    expect(json.stdout).toBe('{"frame_number":2}');
    const [, second] = ranges;
    expect(body.subarray(second?.offset, (second?.offset ?? 0) + 512)).toEqual(Buffer.alloc(512, 2));
  });

  test('has the same bytes each time it is made', () => {
    expect(packArchive([item(1), item(2)]).body).toEqual(packArchive([item(1), item(2)]).body);
  });

  test('ends at the end of the hour, and before it spans over a minute, in any order of frames', () => {
    const far = [item(10), item(710), item(11), item(-9_000), item(609), item(9)];
    const cut = cutForArchives(far).map((run) => run.map(({ frame }) => frame.frameNumber));
    expect(cut).toEqual([[-9_000], [9], [10, 11, 609], [710]]);
  });
});

describe('an archived picture', () => {
  const items = Array.from({ length: 25 }, (_, index) => item(index));

  test('is found by the key of its own object, across the end of an hour, with a small read', async () => {
    const { reader, bytesRead } = bucketOf(items);
    for (const index of [0, 9, 10, 24]) {
      const found = await findArchived(reader, keyOf(index));
      expect(found && (await reader.read(found.key, found))).toEqual(items[index]?.jpeg);
    }
    expect(bytesRead()).toBeLessThan(4 * 20_000);
    for (const key of [keyOf(25), 'clips/yard/a.mp4', keyOf(3).replace('-3.jpg', '-4.jpg')])
      expect(await findArchived(reader, key)).toBeUndefined();
  });

  test('is in its time range, once, although its archive begins earlier', async () => {
    const { reader, objects } = bucketOf(items);
    // At its second delivery, the batch was cut elsewhere.
    const again = items.slice(8, 12);
    const [first, last] = [items[8]?.frame, items[11]?.frame];
    if (first && last) {
      const key = archiveKey('annotated', first, last, {
        topic: 'detections',
        partition: 0,
        offset: 8,
        last: 11,
      });
      objects.set(key, packArchive(again).body);
    }
    const stretch = { streamId: 'yard', from: T0 + 500, to: T0 + 1_400 };
    const pictures = await picturesOf(reader, 'annotated', stretch, 100);
    const expected = items.slice(5, 15).map(({ frame, jpeg }) => ({ capturedAt: frame.capturedAt, jpeg }));
    expect(pictures).toEqual(expected);
    const has = (time: number) => hasPictureSince(reader, 'annotated', 'yard', time);
    expect([await has(T0 + 2_350), await has(T0 + 2_400), await has(T0 + 2_401)]).toEqual([
      true,
      true,
      false,
    ]);
  });

  test('is named in a listing of pictures', async () => {
    const { reader } = bucketOf(items);
    const listed = pictureKeys(reader, 'annotated/yard/', { from: T0, to: T0 + 2_400 }, raise);
    expect(await Array.fromAsync(listed)).toEqual(items.map((_, i) => keyOf(i)));
  });

  test('in an archive with a large index is found, too', async () => {
    const many = Array.from({ length: 580 }, (_, index) => item(index, 10));
    const { reader, objects } = bucketOf([]);
    const [first, last] = [many[0]?.frame, many.at(-1)?.frame];
    if (first && last)
      objects.set(
        archiveKey('annotated', first, last, { topic: 'detections', partition: 0, offset: 0, last: 579 }),
        packArchive(many).body,
      );
    const found = await findArchived(reader, keyOf(579));
    expect(found && (await reader.read(found.key, found))).toEqual(many[579]?.jpeg);
  });

  test.each([
    'not a tar',
    packArchive([item(0)])
      .body.toString('latin1')
      .replace(/\[\[\d(\d+)\d,/, '[["$1",'),
  ])('is found beside a foreign TAR, which is reported', async (body) => {
    const { reader, objects } = bucketOf(items);
    const foreign = `annotated/yard/date=2026-11-25/hour=07/${T0}-${T0 + 2_400}-mine.tar`;
    objects.set(foreign, Buffer.from(body, 'latin1'));
    const named: string[] = [];
    const range = { from: T0, to: T0 + 2_400 };
    const listed = pictureKeys(reader, 'annotated/yard/', range, ({ key }) => void named.push(key));
    expect(await Array.fromAsync(listed)).toEqual(items.map((_, i) => keyOf(i)));
    expect(named).toEqual([foreign]);
    expect(await findArchived(reader, keyOf(3))).toMatchObject({ frameNumber: 3 });
    await expect(findArchived(reader, keyOf(3).replace('-3.jpg', '-4.jpg'))).rejects.toThrow(foreign);
  });

  test('is found after a foreign object with a later time in its name', async () => {
    const { reader, objects } = bucketOf(items);
    objects.set(`annotated/yard/date=2026-11-25/hour=07/${T0 * 10}.jpg`, Buffer.from('foreign'));
    const stretch = { streamId: 'yard', from: T0, to: T0 + 2_400 };
    const pictures = await picturesOf(reader, 'annotated', stretch, 100);
    expect(pictures).toHaveLength(items.length);
  });

  test.each([40_000, 100_030])(
    'of a host whose clock starts in 1970 is found, captured at %i',
    async (at) => {
      const { reader, objects } = bucketOf([]);
      const key = annotatedKey('annotated', { streamId: 'yard', capturedAt: at, frameNumber: 1 });
      objects.set(key, Buffer.from('a JPEG'));
      const pictures = await picturesOf(reader, 'annotated', { streamId: 'yard', from: at, to: at }, 100);
      expect(pictures).toHaveLength(1);
    },
  );
});

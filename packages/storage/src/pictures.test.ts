import { annotatedKey } from '@video-pipeline/frame';
import { expect, test } from 'vitest';
import { hasPictureSince, picturesOf, rangeAround } from './pictures.ts';
import type { Reader } from './reader.ts';

const HOUR_ENDS = Date.UTC(2026, 10, 25, 8);
const keyOf = (streamId: string, capturedAt: number, frameNumber = 0) =>
  annotatedKey('annotated', { streamId, capturedAt, frameNumber });

/** A bucket with pages of three, in which each object holds its own key. */
function bucketOf(keys: string[]) {
  const sorted = keys.toSorted();
  const asked: string[] = [];
  const reader: Reader = {
    async page(prefix, { after = '', limit = 3 } = {}) {
      asked.push(after);
      const found = sorted.filter((key) => key.startsWith(prefix) && key > after);
      const objects = found.slice(0, limit).map((key) => ({ key, stored: 0, etag: '', size: 0 }));
      return found.length > limit ? { objects, next: objects.at(-1)?.key ?? '' } : { objects };
    },
    read: async (key) => Buffer.from(key),
  };
  return { reader, asked };
}

const times = Array.from({ length: 20 }, (_, index) => HOUR_ENDS + (index - 10) * 100);

test('pictures of a time range are those of one stream, in order, including both ends, across hours', async () => {
  const keys = times.flatMap((time) => [keyOf('yard', time, 12), keyOf('yard-2', time), keyOf('a', time)]);
  const stretch = { streamId: 'yard', from: HOUR_ENDS - 500, to: HOUR_ENDS + 300 };
  const pictures = await picturesOf(bucketOf(keys).reader, 'annotated', stretch, 100);
  const expected = times.filter((time) => time >= stretch.from && time <= stretch.to);
  expect(pictures).toEqual(
    expected.map((time) => ({ capturedAt: time, jpeg: Buffer.from(keyOf('yard', time, 12)) })),
  );
});

test("a clip's range has its seconds before and after, within valid times", () => {
  const settings = { CLIP_BEFORE_SECONDS: 2, CLIP_AFTER_SECONDS: 1.5 };
  const around = (at: number) => rangeAround('yard', at, settings);
  expect(around(HOUR_ENDS)).toEqual({ streamId: 'yard', from: HOUR_ENDS - 2_000, to: HOUR_ENDS + 1_500 });
  expect([around(1_000).from, around(8.64e15).to]).toEqual([0, 8.64e15]);
});

test('only the hours of the time range are listed', async () => {
  const { reader, asked } = bucketOf(times.map((time) => keyOf('yard', time)));
  const stretch = { streamId: 'yard', from: HOUR_ENDS - 1_000, to: HOUR_ENDS - 600 };
  expect(await picturesOf(reader, 'annotated', stretch, 100)).toHaveLength(5);
  expect(asked).toHaveLength(2);
});

test('with more pictures than the limit, evenly spaced ones are returned', async () => {
  const { reader } = bucketOf(times.map((time) => keyOf('yard', time)));
  const stretch = { streamId: 'yard', from: 0, to: HOUR_ENDS + 10_000 };
  const pictures = await picturesOf(reader, 'annotated', stretch, 5);
  expect(pictures.map(({ capturedAt }) => times.indexOf(capturedAt))).toEqual([0, 4, 8, 12, 16]);
});

test('a picture that is deleted before the read is skipped, and any other error is thrown', async () => {
  const { NoSuchKey } = await import('@aws-sdk/client-s3');
  const { reader } = bucketOf(times.map((time) => keyOf('yard', time)));
  const faults: Error[] = [new NoSuchKey({ message: 'gone', $metadata: {} })];
  const failing = {
    ...reader,
    read: async (key: string) => {
      const fault = key === keyOf('yard', HOUR_ENDS) ? faults.shift() : undefined;
      if (fault) throw fault;
      return Buffer.from(key);
    },
  };
  const stretch = { streamId: 'yard', from: HOUR_ENDS - 100, to: HOUR_ENDS + 100 };
  const pictures = await picturesOf(failing, 'annotated', stretch, 9);
  expect(pictures.map(({ capturedAt }) => capturedAt)).toEqual([HOUR_ENDS - 100, HOUR_ENDS + 100]);
  faults.push(new Error('503 Slow Down'));
  await expect(picturesOf(failing, 'annotated', stretch, 9)).rejects.toThrow('503 Slow Down');
});

test('hasPictureSince finds a picture stored at or after a time', async () => {
  const { reader } = bucketOf([keyOf('yard', HOUR_ENDS), keyOf('yard-2', HOUR_ENDS + 9_000)]);
  const has = (time: number) => hasPictureSince(reader, 'annotated', 'yard', time);
  expect([await has(HOUR_ENDS - 1), await has(HOUR_ENDS), await has(HOUR_ENDS + 1)]).toEqual([
    true,
    true,
    false,
  ]);
});

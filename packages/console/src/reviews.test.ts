import { setTimeout } from 'node:timers/promises';
import { hourFolder } from '@video-pipeline/frame';
import { expect, test } from 'vitest';
import { MemoryBucket } from '../../../test/support/memory-bucket.ts';
import { keepReviews } from './reviews.ts';

const START = Date.UTC(2026, 10, 25, 7);

test('review marks of several people are stored by hour, and can be removed', async () => {
  const bucket = new MemoryBucket();
  const store = {
    async merge({ key, merge }: { key: string; merge: (before?: string) => string }) {
      const before = bucket.objects.get(key)?.body.toString();
      bucket.now++;
      await bucket.put({ key, body: merge(before) });
    },
  };
  const [anna, ben] = [keepReviews(bucket, store), keepReviews(bucket, store)];
  const events = [0, 1, 90].map((minute) => ({
    at: Date.UTC(2026, 10, 25, 7, minute),
    event_id: `id-${minute}`,
  }));
  const range = { from: events[0]?.at ?? 0, to: events[2]?.at ?? 0 };
  await anna.mark(events.slice(0, 1), true);
  expect(await ben.marked(range)).toEqual(['id-0']);
  await ben.mark(events.slice(1), true);
  expect(await anna.marked(range)).toEqual(['id-0', 'id-1', 'id-90']);
  await anna.mark(events.slice(1, 2), false);
  expect(await ben.marked(range)).toEqual(['id-0', 'id-90']);
  expect(await ben.marked({ from: range.from, to: range.from })).toEqual(['id-0']);
  expect(await ben.markedOf(events.slice(0, 1))).toEqual(['id-0']);
  expect(await ben.markedOf([])).toEqual([]);
});

test.each(['{"id-0":', '', 'null', '[1]'])(
  'review marks damaged to %j are reported, and not overwritten',
  async (text) => {
    const bucket = new MemoryBucket();
    const key = `reviews/${hourFolder(START)}/marks.json`;
    const merged: string[] = [];
    const store = {
      async merge({ merge }: { merge: (before?: string) => string }) {
        merged.push(merge(text));
      },
    };
    await bucket.put({ key, body: text });
    const reviews = keepReviews(bucket, store);
    const event = { at: START, event_id: 'id-1' };
    await expect(reviews.markedOf([event])).rejects.toThrow(`${key} holds no marks: remove it`);
    await expect(reviews.mark([event], true)).rejects.toThrow(`${key} holds no marks: remove it`);
    expect(merged).toEqual([]);
  },
);

/** A bucket with marks in many hours. Each read takes a while. */
function marksOf(hours: number) {
  const bucket = new MemoryBucket();
  const keys = Array.from(
    { length: hours },
    (_, hour) => `reviews/${hourFolder(START + hour * 3_600_000)}/marks.json`,
  );
  let now = 0;
  let most = 0;
  for (const key of keys)
    bucket.objects.set(key, { body: Buffer.from(`{"${key}":1}`), stored: 0, etag: key });
  const slow = {
    page: bucket.page.bind(bucket),
    async read(key: string) {
      now += 1;
      most = Math.max(most, now);
      await setTimeout(5);
      now -= 1;
      return bucket.read(key);
    },
  };
  const reviews = keepReviews(slow, { merge: async () => {} });
  return { reviews, keys, bucket, most: () => most };
}

test('marks of many hours are read a few at a time, in order, and only the requested hours', async () => {
  const { reviews, keys, bucket, most } = marksOf(100);
  const few = await reviews.markedOf(
    [10, 90].map((hour) => ({ at: START + hour * 3_600_000, event_id: '' })),
  );
  expect(few).toEqual([keys[10], keys[90]]);
  expect(bucket.reads).toBe(2);
  expect(await reviews.marked({ from: START, to: START + 99 * 3_600_000 })).toEqual(keys);
  expect(most()).toBeGreaterThan(4);
  expect(most()).toBeLessThanOrEqual(16);
});

test('a time range with marks in too many hours is rejected before any is read', async () => {
  const { reviews, bucket } = marksOf(2_001);
  await expect(reviews.marked({ from: START, to: START + 1e11 })).rejects.toThrow('ask for a shorter time');
  expect(bucket.reads).toBe(0);
});

import { expect, test } from 'vitest';
import { MemoryBucket } from '../../../test/support/memory-bucket.ts';
import { Reviews } from './reviews.ts';

test('marks of several people are kept by the hour, and can be taken back', async () => {
  const bucket = new MemoryBucket();
  const store = {
    async merge({ key, merge }: { key: string; merge: (before?: string) => string }) {
      const before = bucket.objects.get(key)?.body.toString();
      bucket.now++;
      await bucket.put({ key, body: merge(before) });
    },
  };
  const [anna, ben] = [new Reviews(bucket, store), new Reviews(bucket, store)];
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
});

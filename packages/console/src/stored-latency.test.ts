import { expect, test } from 'vitest';
import { storedLatency } from './stored-latency.ts';

test('of a thousand streams a few are listed, evenly spread', async () => {
  const listed: string[] = [];
  const bucket = {
    async page(prefix: string) {
      listed.push(prefix);
      const key = `${prefix}date=2026-11-25/hour=07/1000-1.jpg`;
      return { objects: [{ key, stored: 3_000, etag: '', size: 1 }] };
    },
  };
  const newest = Array.from({ length: 1_000 }, (_, i) => ({ stream_id: `s${i}`, captured_at: 40_000 }));
  expect(await storedLatency(bucket, 'annotated', newest)).toEqual({ p50: 2_500, p95: 2_500 });
  expect(listed).toHaveLength(32);
  expect(listed.at(-1)).toMatch(/s9\d\d/);
});

test('a foreign object whose key has no time is ignored', async () => {
  const folder = 'annotated/gate/date=2026-11-25/hour=07';
  const objects = ['1000-1.jpg', 'notes.txt'].map((name) => ({
    key: `${folder}/${name}`,
    stored: 3_000,
    etag: '',
    size: 1,
  }));
  const bucket = { page: async () => ({ objects }) };
  const newest = [{ stream_id: 'gate', captured_at: 40_000 }];
  expect(await storedLatency(bucket, 'annotated', newest)).toEqual({ p50: 2_500, p95: 2_500 });
});

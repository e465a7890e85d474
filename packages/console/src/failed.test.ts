import { expect, test } from 'vitest';
import { bulk } from './failed.ts';

const entryOf = (record: object) => {
  const bytes = Buffer.from(JSON.stringify({ stage: 'detect', reason: 'r', time: '', record }));
  return { bytes, size: bytes.length };
};

/** A bucket with so many entries of `failed/`; every fifth is of the stream `yard`. */
const bucketOf = (entries: number) => {
  const keys = Array.from({ length: entries }, (_, i) => `failed/detect/t-0-${String(i).padStart(5, '0')}`);
  const yard = { stream_id: [...Buffer.from('yard')] };
  return {
    async page(prefix: string, { after = '' } = {}) {
      const rest = prefix === 'failed/' ? keys.filter((key) => key > after) : [];
      const objects = rest.slice(0, 1000).map((key) => ({ key }));
      return rest.length > 1000 ? { objects, next: objects.at(-1)?.key } : { objects };
    },
    head: async (key: string) => entryOf({ topic: 't', headers: /[05]$/.test(key) ? [yard] : [] }),
  };
};

test('a bulk change stops when its client disconnects', async () => {
  const gone = new AbortController();
  const done: string[] = [];
  const act = async ({ key }: { key: string }) => {
    done.push(key);
    if (done.length === 3) gone.abort(new Error('the client has gone'));
  };
  await expect(bulk(bucketOf(10) as never, {}, gone.signal, act)).rejects.toThrow('the client has gone');
  expect(done).toHaveLength(3);
});

test('a bulk change stops at a limit of entries, and continues from there', async () => {
  const { signal } = new AbortController();
  const bucket = bucketOf(3_200) as never;
  expect(await bulk(bucket, {}, signal)).toMatchObject({ count: 500, cursor: 'failed/detect/t-0-00499' });
  const done: string[] = [];
  const act = async ({ key }: { key: string }) => void done.push(key);
  const ended = { problems: [], until: expect.any(Number) };
  const first = await bulk(bucket, { stream: 'yard' }, signal, act);
  expect(first).toEqual({ ...ended, count: 400, cursor: 'failed/detect/t-0-01999' });
  const rest = await bulk(bucket, { stream: 'yard' }, signal, act, first);
  expect(rest).toEqual({ ...ended, count: 240 });
  expect(new Set(done).size).toBe(640);
});

test('records that fail again during a bulk change are neither redriven again nor deleted', async () => {
  const { signal } = new AbortController();
  let keys = Array.from({ length: 700 }, (_, i) => `failed/detect/t-0-${10_000 + i}`);
  const times = new Map(keys.map((key) => [key, '2026-11-25T07:00:00Z']));
  const bucket = {
    async page(prefix: string, { after = '' } = {}) {
      const rest = prefix === 'failed/' ? keys.filter((key) => key > after) : [];
      const objects = rest.slice(0, 100).map((key) => ({ key }));
      return rest.length > 100 ? { objects, next: objects.at(-1)?.key } : { objects };
    },
    async head(key: string) {
      const entry = {
        stage: 'detect',
        reason: 'r',
        time: times.get(key),
        record: { topic: 't', headers: [] },
      };
      const bytes = Buffer.from(JSON.stringify(entry));
      return { bytes, size: bytes.length };
    },
  };
  const counted = await bulk(bucket as never, {}, signal);
  // Each fails again, at a later offset of its topic.
  const act = async ({ key }: { key: string }) => {
    const again = `failed/detect/t-0-${20_000 + times.size}`;
    times.set(again, new Date(counted.until + 1).toISOString());
    keys = [...keys.filter((one) => one !== key), again];
  };
  let done = 0;
  let part: { cursor?: string; until: number; count: number } = { until: counted.until, count: 0 };
  for (let round = 0; round < 9; round++) {
    part = await bulk(bucket as never, {}, signal, act, part);
    done += part.count;
    if (part.cursor === undefined) break;
  }
  expect([done, part.cursor, keys.length]).toEqual([700, undefined, 700]);
});

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

test('a change of many records ends with the client that asked for it', async () => {
  const gone = new AbortController();
  const done: string[] = [];
  const act = async ({ key }: { key: string }) => {
    done.push(key);
    if (done.length === 3) gone.abort(new Error('the client has gone'));
  };
  await expect(bulk(bucketOf(10) as never, {}, gone.signal, act)).rejects.toThrow('the client has gone');
  expect(done).toHaveLength(3);
});

test('a change ends after so many entries that were changed or read, and goes on where it ended', async () => {
  const { signal } = new AbortController();
  const bucket = bucketOf(3_200) as never;
  expect(await bulk(bucket, {}, signal)).toMatchObject({ count: 500, cursor: 'failed/detect/t-0-00499' });
  const done: string[] = [];
  const act = async ({ key }: { key: string }) => void done.push(key);
  const first = await bulk(bucket, { stream: 'yard' }, signal, act);
  expect(first).toEqual({ count: 400, more: true, problems: [], cursor: 'failed/detect/t-0-01999' });
  const rest = await bulk(bucket, { stream: 'yard' }, signal, act, first.cursor);
  expect(rest).toEqual({ count: 240, more: false, problems: [] });
  expect(new Set(done).size).toBe(640);
});

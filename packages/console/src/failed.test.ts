import { expect, test } from 'vitest';
import { bulk } from './failed.ts';

test('a change of many records ends with the client that asked for it', async () => {
  const gone = new AbortController();
  const done: string[] = [];
  const entry = Buffer.from(
    JSON.stringify({ stage: 'detect', reason: 'r', time: '', record: { topic: 't', headers: [] } }),
  );
  const bucket = {
    async *list(prefix: string) {
      if (prefix === 'failed/') for (let i = 0; i < 10; i++) yield `failed/detect/t-0-${i}`;
    },
    head: async () => ({ bytes: entry, size: entry.length }),
  };
  const act = async (key: string) => {
    done.push(key);
    if (done.length === 3) gone.abort(new Error('the client has gone'));
  };
  await expect(bulk(bucket as never, {}, gone.signal, act)).rejects.toThrow('the client has gone');
  expect(done).toHaveLength(3);
});

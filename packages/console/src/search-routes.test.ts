import type { Query } from '@video-pipeline/tables';
import { expect, onTestFinished, test } from 'vitest';
import { addSearchRoutes } from './search-routes.ts';
import { createServer } from './server.ts';

function serve(total: number) {
  const app = createServer('', (error) => expect.unreachable(error.message));
  onTestFinished(() => void app.close());
  const frame = { archive: { key: 'k', offset: 0, length: 1_000 } };
  const tables = {
    /** The first page ends before the range does, as where much of it is not in the tables yet. */
    search: async ({ cursor, limit }: Query) => ({
      frames: Array(Math.min(limit, total, cursor ? 8 : 2)).fill(frame),
      searched_to: 0,
      ...(cursor ? {} : { cursor: 'c' }),
    }),
    histogram: async () => [total],
  };
  addSearchRoutes(app, { tables } as never);
  return async (path: string) => {
    const answer = await app.inject(path);
    return [answer.statusCode, answer.json()];
  };
}

test('the size of an export is computed from its frames, up to the limit', async () => {
  const get = serve(1_000_000);
  expect(await get('/api/search/size')).toEqual([200, { frames: 100_000, bytes: 100_000_000 }]);
  expect(await serve(50)('/api/search/size')).toEqual([200, { frames: 50, bytes: 50_000 }]);
});

test('more names than the limit are rejected, and not ignored', async () => {
  const get = serve(0);
  const names = (count: number) => Array.from({ length: count }, (_, i) => `stream=s${i}`).join('&');
  expect(await get(`/api/search/size?${names(100)}`)).toMatchObject([200, {}]);
  expect(await get(`/api/search/size?${names(101)}`)).toEqual([
    400,
    { error: 'stream is given 101 times, at most 100 are read' },
  ]);
});

import { expect, test, vi } from 'vitest';
import { IngestStream, type StreamContext } from './ingest-stream.ts';
import { openSource } from './source/open.ts';
import type { Source } from './source/source.ts';
import { SourceError } from './source/source-error.ts';
import { createStats } from './stats.ts';
import type { StreamSpec } from './streams.ts';

vi.mock('./source/open.ts');

const OWN = 'rtsp://h/x';
const NEXT = 'rtsp://h2/y';
const FALLBACK = 'rtsp://h3/z';
test.each([
  ['the new URL is tried, and then the own URL', [], [[OWN], [OWN, NEXT], [OWN]]],
  ['a fallback is tried before the new URL', [FALLBACK], [[OWN], [FALLBACK]]],
])('after a redirect of the camera, %s', async (_what, fallback, wanted) => {
  const { promise: enough, resolve } = Promise.withResolvers<void>();
  const tried: string[][] = [];
  vi.mocked(openSource).mockImplementation(async (url, { location }): Promise<Source> => {
    if (tried.push(location ? [url, location] : [url]) === wanted.length) resolve();
    throw new SourceError('it goes on there', false, false, tried.length === 1 ? NEXT : undefined);
  });
  const context = { stats: createStats(), stallSeconds: 1, log: { info() {}, warn() {} } };
  const spec = { id: 'yard', url: OWN, fallback, frameRate: 10, fallbackSeconds: 1 };
  const stream = new IngestStream(spec as unknown as StreamSpec, context as unknown as StreamContext);
  void stream.run();
  await enough;
  await stream.stop();
  expect(tried).toEqual(wanted);
});

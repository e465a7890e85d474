import { expect, test, vi } from 'vitest';
import { IngestStream, type StreamContext } from './ingest-stream.ts';
import { openSource } from './source/open.ts';
import type { Source } from './source/source.ts';
import { SourceError } from './source/source-error.ts';
import { createStats } from './stats.ts';
import type { StreamSpec } from './streams.ts';

vi.mock('./source/open.ts');

test('where a camera said that it goes on is tried next, and then the stream’s own URL again', async () => {
  const { promise: enough, resolve } = Promise.withResolvers<void>();
  const locations: (string | undefined)[] = [];
  vi.mocked(openSource).mockImplementation(async (_url, { location }): Promise<Source> => {
    if (locations.push(location) === 3) resolve();
    throw new SourceError(
      'it goes on there',
      false,
      false,
      locations.length === 1 ? 'rtsp://h2/y' : undefined,
    );
  });
  const context = { stats: createStats(), stallSeconds: 1, log: { info() {}, warn() {} } };
  const spec = { id: 'yard', url: 'rtsp://h/x', frameRate: 10, fallbackSeconds: 1 };
  const stream = new IngestStream(spec as StreamSpec, context as unknown as StreamContext);
  void stream.run();
  await enough;
  await stream.stop();
  expect(locations).toEqual([undefined, 'rtsp://h2/y', undefined]);
});

import { annotatedKey } from '@video-pipeline/frame';
import { stretchAround } from '@video-pipeline/storage';
import { expect, onTestFinished, test, vi } from 'vitest';
import { manyScans } from '../../../test/support/many-scans.ts';
import { MemoryBucket } from '../../../test/support/memory-bucket.ts';
import { clipOf } from './clip.ts';
import { addClipRoutes } from './clip-routes.ts';
import { createServer } from './server.ts';

test('a stored picture that would cost too much to decode is refused undecoded', async () => {
  const at = Date.now() - 3_600_000;
  const key = annotatedKey('annotated', { streamId: 'yard', capturedAt: at, frameNumber: 1 });
  const jpeg = await manyScans(3_000);
  const reader = {
    page: async (prefix: string) => ({
      objects: key.startsWith(prefix) ? [{ key, stored: at, etag: '', size: 0 }] : [],
    }),
    read: async () => jpeg,
  };
  const stretch = stretchAround('yard', at, { CLIP_BEFORE_SECONDS: 3, CLIP_AFTER_SECONDS: 3 } as never);
  const clip = clipOf(reader, 'annotated', stretch, new AbortController().signal);
  await expect(clip).rejects.toThrow('2647 scans, over 100');
});

test('an hour of video is listed once for all who ask for it, and no other folder', async () => {
  const bucket = new MemoryBucket();
  const folder = 'annotated/gate/date=2026-11-28/hour=07';
  await bucket.put({ key: `${folder}/1795849200000-1795849201000-d-0-1.mp4`, body: 'segment' });
  await bucket.put({ key: `${folder}/1795849200000-1.jpg`, body: 'picture' });
  const page = vi.spyOn(bucket, 'page');
  const read = vi.spyOn(bucket, 'read');
  const app = createServer('', (error) => expect.unreachable(error.message));
  onTestFinished(() => void app.close());
  const tables = { search: vi.fn(async () => ({ frames: [], searched_to: 0 })) };
  addClipRoutes(app, { bucket, tables, prefix: 'annotated', clipSettings: {} as never });
  const ask = (path: string) => app.inject(`/api/streams/gate/video/${path}`);
  const all = await Promise.all(Array.from({ length: 20 }, () => ask('date=2026-11-28/hour=07/index.m3u8')));
  for (const { statusCode, body } of all) {
    expect(statusCode).toBe(200);
    expect(body).toContain('1795849200000-1795849201000-d-0-1.mp4');
  }
  expect(page).toHaveBeenCalledOnce();
  const segment = 'date=2026-11-28/hour=07/1795849200000-1795849201000-d-0-1.mp4';
  const segments = await Promise.all(Array.from({ length: 20 }, () => ask(segment)));
  expect(segments.map(({ body }) => body)).toEqual(Array(20).fill('segment'));
  expect(read).toHaveBeenCalledOnce();
  const track = await ask(segment.replace('mp4', 'vtt'));
  expect([track.statusCode, track.body, track.headers['content-type']]).toEqual([
    200,
    'WEBVTT\n',
    'text/vtt; charset=utf-8',
  ]);
  const range = { from: 1795849200000, to: 1795849201001 };
  expect(tables.search).toHaveBeenCalledWith(
    expect.objectContaining({ streams: ['gate'], ...range }),
    expect.anything(),
  );
  for (const other of ['hour=07x', 'hour=07%2F..%2Fhour=08', '..', 'hour=7'])
    expect((await ask(`date=2026-11-28/${other}/index.m3u8`)).statusCode, other).toBe(404);
  expect(page).toHaveBeenCalledOnce();
});

import { annotatedKey } from '@video-pipeline/frame';
import { rangeAround } from '@video-pipeline/storage';
import sharp from 'sharp';
import { expect, onTestFinished, test, vi } from 'vitest';
import { manyScans } from '../../../test/support/many-scans.ts';
import { MemoryBucket } from '../../../test/support/memory-bucket.ts';
import { clipOf } from './clip.ts';
import { addClipRoutes } from './clip-routes.ts';
import { createServer } from './server.ts';

/** A clip of which these pictures are stored, a second apart. */
async function clipOfStored(pictures: readonly Buffer[]): Promise<Buffer | undefined> {
  const at = Date.now() - 3_600_000;
  const bucket = new MemoryBucket();
  for (const [frameNumber, body] of pictures.entries()) {
    const frame = { streamId: 'yard', capturedAt: at + 1_000 * frameNumber, frameNumber };
    await bucket.put({ key: annotatedKey('annotated', frame), body });
  }
  const range = rangeAround('yard', at, { CLIP_BEFORE_SECONDS: 3, CLIP_AFTER_SECONDS: 3 } as never);
  return clipOf(bucket, 'annotated', range, new AbortController().signal);
}

test.each([1, 2, 3])('a clip has each of %i stored pictures', async (count) => {
  const colours = ['teal', 'red', 'white'].slice(0, count);
  const pictures = colours.map((background) =>
    sharp({ create: { width: 64, height: 48, channels: 3, background } })
      .jpeg()
      .toBuffer(),
  );
  const clip = await clipOfStored(await Promise.all(pictures));
  const { format, width, pageHeight, height, pages = 1 } = await sharp(clip, { animated: true }).metadata();
  expect({ format, width, height: pageHeight ?? height, pages }).toEqual({
    format: 'webp',
    width: 64,
    height: 48,
    pages: count,
  });
});

test('without stored pictures there is no clip', async () => {
  expect(await clipOfStored([])).toBeUndefined();
});

test('a stored picture that is too costly to decode is rejected without decoding', async () => {
  await expect(clipOfStored([await manyScans(3_000)])).rejects.toThrow('2647 scans, over 100');
});

test('an hour of video is listed once for concurrent requests, and no other folder is', async () => {
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

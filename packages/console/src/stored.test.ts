import { detectionsKey, HOUR_MS } from '@video-pipeline/frame';
import { compact, Tables } from '@video-pipeline/tables';
import { expect, onTestFinished, test } from 'vitest';
import { MemoryBucket } from '../../../test/support/memory-bucket.ts';
import type { SearchResult, Timeline } from './api.ts';
import { LiveFrames } from './live.ts';
import { addRoutes } from './routes.ts';
import type { RoutesOptions } from './routes-options.ts';
import { createServer } from './server.ts';

const NOW = Date.now();
type Box = [number, number, number, number];

/** For each class its detections in all bins. */
function sumsOf(classes: Timeline['classes']): Record<string, number> {
  const sum = (counts: number[]) => counts.reduce((all, count) => all + count, 0);
  return Object.fromEntries(Object.entries(classes).map(([name, counts]) => [name, sum(counts)]));
}

/** The line that annotate stored of one frame. */
async function store(
  bucket: MemoryBucket,
  streamId: string,
  capturedAt: number,
  names: string[],
): Promise<void> {
  const line = {
    stream_id: streamId,
    frame_number: 7,
    session: 's',
    captured_at: capturedAt,
    width: 640,
    height: 480,
    model: 'm',
    detections: names.map((class_name) => ({ class_id: 0, class_name, confidence: 0.9, bbox: [0, 0, 9, 9] })),
    annotated_key: `annotated/${streamId}/${capturedAt}-7.jpg`,
  };
  const key = detectionsKey(
    { streamId, capturedAt },
    { topic: 'd', partition: 0, offset: bucket.objects.size },
  );
  bucket.now += 1_000;
  await bucket.put({ key, body: `${JSON.stringify(line)}\n` });
}

async function serve(bucket: MemoryBucket) {
  const tables = new Tables(bucket);
  const app = createServer('', (error) => expect.unreachable(error.message));
  const live = new LiveFrames();
  const options = { tables, live, page: new Map(), streamsFile: { ids: () => undefined } };
  addRoutes(app, options as unknown as RoutesOptions);
  onTestFinished(async () => {
    await app.close();
    await tables.close();
  });
  const get = async <Body>(path: string) => {
    const { statusCode, body } = await app.inject(path);
    return { status: statusCode, body: JSON.parse(body) as Body };
  };
  return { get, live };
}

test('a search finds frames of compacted hours and of the open hour, of several streams and classes', async () => {
  const bucket = new MemoryBucket();
  await store(bucket, 'yard', NOW - 5 * HOUR_MS, ['cat']);
  await store(bucket, 'gate', NOW - 5 * HOUR_MS, ['dog']);
  await compact(bucket, { now: NOW });
  await store(bucket, 'yard', NOW - 1_000, ['dog', 'cat']);
  const { get } = await serve(bucket);
  const times = async (query: string) =>
    (await get<SearchResult>(`/api/search?${query}`)).body.frames.map(({ captured_at }) => captured_at);
  expect(await times('')).toHaveLength(3);
  expect(await times('class=dog')).toEqual([NOW - 1_000, NOW - 5 * HOUR_MS]);
  expect(await times('class=dog&stream=gate')).toEqual([NOW - 5 * HOUR_MS]);
  expect(await times('class=dog&class=cat&stream=yard&stream=gate')).toHaveLength(3);
  const { body } = await get<SearchResult>('/api/search?class=unicorn');
  expect(body).toMatchObject({ frames: [], total: 0 });
  expect((await get('/api/search?cursor=rubbish')).status).toBe(400);
  expect((await get('/api/search?class=%27%3B%20DROP%20TABLE%20raw')).body).toMatchObject({ frames: [] });
});

test('the last frame of a silent stream is found at any age, and each frame by time and number', async () => {
  const bucket = new MemoryBucket();
  const at = NOW - 20 * 24 * HOUR_MS;
  await store(bucket, 'yard', at, ['cat']);
  await compact(bucket, { now: NOW });
  const { get } = await serve(bucket);
  expect((await get('/api/streams/yard/last')).body).toMatchObject({ captured_at: at });
  expect((await get(`/api/streams/yard/frames/${at}-7.json`)).body).toMatchObject({ frame_number: 7 });
  expect((await get(`/api/streams/yard/frames/${at}-8.json`)).status).toBe(404);
  expect((await get('/api/streams/gate/last')).status).toBe(404);
});

test('detections by class include stored ones from before the start of the console, each once', async () => {
  const bucket = new MemoryBucket();
  await store(bucket, 'yard', NOW - 5 * HOUR_MS, ['cat', 'cat']);
  await store(bucket, 'yard', NOW - 60_000, ['dog']);
  await compact(bucket, { now: NOW });
  const { get, live } = await serve(bucket);
  const counts = async () => {
    const { classes } = (await get<Timeline>('/api/streams/yard/timeline?minutes=360')).body;
    return sumsOf(classes);
  };
  expect(await counts()).toEqual({ cat: 2, dog: 1 });
  // The console now sees the frame that is stored already, and a new one.
  const dog = [{ class_id: 0, class_name: 'dog', confidence: 0.9, bbox: [0, 0, 1, 1] as Box }];
  const frame = { streamId: 'yard', session: 's', width: 1, height: 1, model: 'm', jpeg: Buffer.alloc(1) };
  for (const capturedAt of [NOW - 60_000, NOW - 1_000]) {
    live.add({ ...frame, frameNumber: 7, capturedAt, detections: dog }, NOW);
  }
  expect(await counts()).toEqual({ cat: 2, dog: 2 });
  // After the next start one frame is late, or dated ahead, and comes first.
  for (const [index, capturedAt] of [NOW - 5.5 * HOUR_MS, NOW + HOUR_MS].entries()) {
    const again = await serve(bucket);
    for (const at of [capturedAt, NOW - 60_000])
      again.live.add({ ...frame, frameNumber: 7, capturedAt: at, detections: dog }, NOW);
    const { classes } = (await again.get<Timeline>('/api/streams/yard/timeline?minutes=360')).body;
    expect(sumsOf(classes)).toEqual({ cat: 2, dog: 2 - index });
  }
});

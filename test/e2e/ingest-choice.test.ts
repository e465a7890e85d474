import { copyFile, rename } from 'node:fs/promises';
import { type Cameras, startCameras } from '@video-pipeline/camera';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { collectingIngest, stream } from '../support/collect.ts';
import { startIngestProcess } from '../support/ingest-process.ts';
import { jpegSize } from '../support/jpeg.ts';
import { evenTimes, makeVideo, videoFolder } from '../support/video.ts';

const folder = await videoFolder();
const undo: (() => Promise<unknown>)[] = [];
let clip: string;
let cameras: Cameras;

beforeAll(async () => {
  clip = await makeVideo(folder.path('clip.mp4'), { times: evenTimes(100, 25), gop: 25 });
  cameras = await startCameras({ clips: { yard: clip, door: clip } });
});
afterEach(async () => {
  vi.useRealTimers();
  for (const step of undo.splice(0)) await step();
});
afterAll(async () => {
  await cameras.close();
  await folder.remove();
});

test('each stream is cropped to its region and scaled to its width', async () => {
  const { ingest, of } = collectingIngest();
  await ingest.run([
    { ...stream('left', clip), region: [0, 0, 0.5, 1] },
    { ...stream('small', clip), maxWidth: 160 },
    stream('whole', clip),
  ]);
  const sizes = ['left', 'small', 'whole'].map((id) => {
    const [frame] = of(id);
    return frame && [frame.width, frame.height];
  });
  expect(sizes).toEqual([
    [160, 240],
    [160, 120],
    [320, 240],
  ]);
  for (const { jpeg, width, height } of of('left')) expect(jpegSize(jpeg)).toEqual({ width, height });
  expect(of('left')).toHaveLength(40);
});

test('a still scene is sent at the keepalive interval, motion is sent at once, and frame numbers have no gap', async () => {
  // Still for four seconds, then a bright bar passes for two.
  const luma = (x: number, _y: number, index: number) =>
    index >= 100 && Math.abs(x - (index - 100) * 6) < 20 ? 230 : 60;
  const yard = await makeVideo(folder.path('still.mp4'), { times: evenTimes(150, 25), luma });
  const { ingest, frames } = collectingIngest();
  await ingest.run([{ ...stream('yard', yard), motion: { threshold: 0.01, keepaliveSeconds: 2 } }]);
  const stats = ingest.stats.get('yard');
  // At 0 and 2 s for the keep-alive, then ten a second from 4 s on.
  expect(frames.length).toBeGreaterThanOrEqual(2 + 18);
  expect(frames.length).toBeLessThanOrEqual(2 + 20);
  expect(stats?.still).toBe(60 - frames.length);
  expect(stats).toMatchObject({ captured: frames.length, published: frames.length, dropped: 0 });
  expect(frames.map(({ frameNumber }) => frameNumber)).toEqual(frames.map((_, index) => index));
});

test('a camera is disconnected outside of its active hours and opened again later; others are not affected', async () => {
  vi.useFakeTimers({ toFake: ['Date'], now: Date.parse('2026-07-01T08:59:00Z') });
  const { ingest, of } = collectingIngest();
  undo.push(() => ingest.stop(1000));
  const hours = { activeHours: { span: '09:00-18:00', timeZone: 'UTC' } };
  void ingest.run([
    { ...stream('yard', `${cameras.url}/yard`), ...hours },
    stream('door', `${cameras.url}/door`),
  ]);
  const state = () => ingest.stats.get('yard')?.state;
  await expect.poll(() => of('door').length, { timeout: 10_000 }).toBeGreaterThan(5);
  expect([state(), of('yard').length]).toEqual(['inactive', 0]);

  vi.setSystemTime(Date.parse('2026-07-01T09:00:00Z'));
  await expect.poll(() => of('yard').length, { timeout: 10_000 }).toBeGreaterThan(5);
  vi.setSystemTime(Date.parse('2026-07-01T18:00:00Z'));
  await expect.poll(state, { timeout: 5_000 }).toBe('inactive');
  const [yard, door] = [of('yard').length, of('door').length];
  await expect.poll(() => of('door').length, { timeout: 10_000 }).toBeGreaterThan(door + 10);
  expect(of('yard').length - yard).toBeLessThanOrEqual(1);
  expect(ingest.stats.get('yard')).toMatchObject({ reconnects: 0, lastError: undefined });
  expect(ingest.stats.get('door')?.reconnects).toBe(0);
});

test('a file that is interrupted by active hours gives each frame once, with its times', async () => {
  const file = folder.path('cut.mp4');
  await copyFile(clip, file);
  vi.useFakeTimers({ toFake: ['Date'], now: Date.parse('2026-07-01T17:59:00Z') });
  let sends = 0;
  const { ingest, of } = collectingIngest({}, async () => {
    // The first send holds a few of the forty frames.
    if (sends++ === 0) vi.setSystemTime(Date.parse('2026-07-01T18:00:00Z'));
  });
  undo.push(() => ingest.stop(1000));
  const hours = { activeHours: { span: '09:00-18:00', timeZone: 'UTC' } };
  const fileStart = Date.parse('2026-06-30T07:00:00Z');
  const ended = ingest.run([{ ...stream('yard', file), ...hours, fileStart }]);
  await expect.poll(() => ingest.stats.get('yard')?.state).toBe('inactive');
  const before = of('yard').length;
  expect(before).toBeGreaterThan(0);
  expect(before).toBeLessThan(40);

  await rename(file, `${file}.away`);
  vi.setSystemTime(Date.parse('2026-07-02T09:00:00Z'));
  await expect.poll(() => ingest.stats.get('yard')?.reconnects, { timeout: 10_000 }).toBe(1);
  await rename(`${file}.away`, file);
  await ended;
  expect(of('yard').map(({ frameNumber }) => frameNumber)).toEqual(Array.from({ length: 40 }, (_, i) => i));
  const whole = collectingIngest();
  await whole.ingest.run([{ ...stream('yard', clip), fileStart }]);
  const times = (frames: { capturedAt: number }[]) => frames.map(({ capturedAt }) => capturedAt);
  expect(times(of('yard'))).toEqual(times(whole.frames));
});

test('ingest is healthy outside of all active hours, and counts the still frames of MOTION_THRESHOLD', async () => {
  const still = await makeVideo(folder.path('grey.mp4'), { times: evenTimes(50, 25), luma: () => 90 });
  const now = new Date();
  const hour = (offset: number) => `${String((now.getUTCHours() + offset + 24) % 24).padStart(2, '0')}:00`;
  const env = { KAFKA_BOOTSTRAP_SERVERS: '127.0.0.1:1', MOTION_THRESHOLD: '0.02' };
  const start = async (streams: object[]) => {
    const ingest = startIngestProcess({ ...env, STREAMS: JSON.stringify(streams) });
    undo.push(() => ingest.stop());
    return (await ingest.ready).url;
  };
  const resting = await start([{ id: 'yard', url: `${still}?loop`, active_hours: `${hour(2)}-${hour(4)}` }]);
  const health = async () => {
    const response = await fetch(`${resting}/health`);
    return [response.status, (await response.json()).streams.yard.state];
  };
  await expect.poll(health, { timeout: 20_000 }).toEqual([200, 'inactive']);

  const gated = await start([{ id: 'yard', url: `${still}?loop` }]);
  const metrics = async () => (await fetch(`${gated}/metrics`)).text();
  await expect
    .poll(metrics, { timeout: 20_000 })
    .toMatch(/ingest_frames_still_total\{stream="yard"\} [1-9]\d/);
  expect(await metrics()).toContain('ingest_frames_captured_total{stream="yard"} 1\n');
  expect(await metrics()).toContain('ingest_frames_dropped_total{stream="yard",reason="kafka"} 0');
});

import { type Cameras, startCameras } from '@video-pipeline/camera';
import type { Frame } from '@video-pipeline/frame';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { collectingIngest, stream } from '../support/collect.ts';
import { jpegSize } from '../support/jpeg.ts';
import { evenTimes, makeVideo, videoFolder } from '../support/video.ts';

const folder = await videoFolder();
let clip: string;
const undo: (() => Promise<void>)[] = [];

beforeAll(async () => {
  clip = await makeVideo(folder.path('clip.mp4'), { times: evenTimes(100, 25), bFrames: 2, gop: 25 });
});
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});
afterAll(() => folder.remove());

async function cameras(options: Partial<Parameters<typeof startCameras>[0]> = {}): Promise<Cameras> {
  const started = await startCameras({ clips: { yard: clip, door: clip }, ...options });
  undo.push(() => started.close());
  return started;
}

type Collecting = ReturnType<typeof collectingIngest>;

function run(collecting: Collecting, specs: Parameters<Collecting['ingest']['run']>[0]): Promise<void> {
  undo.push(() => collecting.ingest.stop(1000));
  return collecting.ingest.run(specs);
}

function expectContiguous(frames: Frame[]): void {
  expect(frames.map(({ frameNumber }) => frameNumber)).toEqual(frames.map((_, index) => index));
  const times = frames.map(({ capturedAt }) => capturedAt);
  expect(times).toEqual([...times].sort((one, other) => one - other));
}

const captured = (collecting: Collecting, id: string) =>
  expect.poll(() => collecting.of(id).length, { timeout: 20_000 });

test("two cameras are sampled evenly, frames are numbered without a gap, and JPEGs have the camera's size", async () => {
  const { url } = await cameras();
  const collecting = collectingIngest();
  void run(collecting, [stream('yard', `${url}/yard`), stream('door', `${url}/door`, 5)]);
  await captured(collecting, 'yard').toBeGreaterThan(20);

  const yard = collecting.of('yard');
  expectContiguous(yard);
  expectContiguous(collecting.of('door'));
  const span = (yard.at(-1)?.capturedAt ?? 0) - (yard[0]?.capturedAt ?? 0);
  expect(Math.abs(span / (yard.length - 1) - 100)).toBeLessThan(5);
  expect(collecting.of('door').length).toBeLessThan(yard.length * 0.7);
  for (const { jpeg, width, height } of yard) {
    expect(jpegSize(jpeg)).toEqual({ width, height });
    expect([width, height]).toEqual([320, 240]);
    expect(jpeg.length).toBeLessThanOrEqual(160_000);
  }
  expect(new Set(collecting.frames.map(({ session }) => session)).size).toBe(1);
});

test("capture times come from the camera's RTCP sender reports, and are evenly spaced to the millisecond", async () => {
  const { url } = await cameras();
  const collecting = collectingIngest();
  void run(collecting, [stream('yard', `${url}/yard`, 25)]);
  await captured(collecting, 'yard').toBeGreaterThan(30);
  const times = collecting.of('yard').map(({ capturedAt }) => capturedAt);
  const steps = times.slice(1).map((time, index) => time - (times[index] ?? 0));
  expect(Math.min(...steps)).toBeGreaterThanOrEqual(39);
  expect(Math.max(...steps)).toBeLessThanOrEqual(41);
});

test('a camera that disconnects and returns is read again within 5 s, and another camera is not affected', async () => {
  const away = await cameras({ clips: { yard: clip } });
  const other = await cameras({ clips: { door: clip } });
  const collecting = collectingIngest({ stallSeconds: 2 });
  void run(collecting, [stream('yard', `${away.url}/yard`), stream('door', `${other.url}/door`)]);
  await captured(collecting, 'yard').toBeGreaterThan(5);

  await away.close();
  undo.splice(0, 1);
  await expect.poll(() => collecting.ingest.stats.get('yard')?.state, { timeout: 5_000 }).toBe('waiting');
  const before = collecting.of('yard').length;
  const doorBefore = collecting.of('door').length;
  await cameras({ clips: { yard: clip }, port: Number(new URL(away.url).port) });
  const back = performance.now();
  await captured(collecting, 'yard').toBeGreaterThan(before + 2);
  const seconds = (performance.now() - back) / 1000;
  expect(seconds).toBeLessThan(5);
  expectContiguous(collecting.of('yard'));
  expectContiguous(collecting.of('door'));
  expect(collecting.of('door').length - doorBefore).toBeGreaterThan(seconds * 10 - 8);
  expect(collecting.ingest.stats.get('yard')?.reconnects).toBeGreaterThan(0);
  expect(collecting.ingest.stats.get('door')?.reconnects).toBe(0);
});

test('a file is read completely, at full speed, without drops, and then the run ends', async () => {
  const collecting = collectingIngest({}, () => new Promise((resolve) => setTimeout(resolve, 20)));
  await run(collecting, [stream('yard', clip, 25), stream('door', `file://${clip}`, 10)]);
  expect(collecting.of('yard')).toHaveLength(100);
  expect(collecting.of('door')).toHaveLength(40);
  expectContiguous(collecting.of('yard'));
  expect(collecting.ingest.stats.get('yard')).toMatchObject({
    captured: 100,
    published: 100,
    dropped: 0,
    state: 'ended',
  });
});

test('a file waits while the pipeline is full for longer than the stall time, and is not read again', async () => {
  let sends = 0;
  const collecting = collectingIngest({ stallSeconds: 0.3 }, async () => {
    sends += 1;
    if (sends === 2) await new Promise((resolve) => setTimeout(resolve, 1_000));
  });
  await run(collecting, [stream('yard', clip, 25)]);
  expect(collecting.of('yard')).toHaveLength(100);
  expectContiguous(collecting.of('yard'));
  expect(collecting.entries.filter(({ level }) => level === 'warn')).toEqual([]);
});

test('a looping file plays in real time, also across its end', async () => {
  const short = await makeVideo(folder.path('short.mp4'), { times: evenTimes(25, 25) });
  const collecting = collectingIngest();
  void run(collecting, [stream('yard', `${short}?loop`, 25)]);
  // Of any 60 frames: a busy machine takes the first one late.
  const late = () => {
    const frames = collecting.of('yard').slice(-61);
    return Math.abs((frames[60]?.capturedAt ?? 0) - (frames[0]?.capturedAt ?? 0) - 2400);
  };
  await expect.poll(late, { timeout: 20_000 }).toBeLessThan(150);
  expectContiguous(collecting.of('yard'));
});

test('MAX_FRAMES ends the run after exactly this number of frames of all streams', async () => {
  const { url } = await cameras();
  const collecting = collectingIngest({ maxFrames: 17 });
  await run(collecting, [stream('yard', `${url}/yard`), stream('door', `${url}/door`)]);
  expect(collecting.frames).toHaveLength(17);
  expect([collecting.of('yard').length > 4, collecting.of('door').length > 4]).toEqual([true, true]);
});

test('a wrong password is reported, retried slowly, and never logged', async () => {
  const { url } = await cameras({ user: 'admin:p@ss' });
  const collecting = collectingIngest();
  const address = (password: string) => `${url.replace('//', `//admin:${password}@`)}/yard`;
  void run(collecting, [stream('right', address('p%40ss')), stream('wrong', address('secret'))]);
  await captured(collecting, 'right').toBeGreaterThan(5);
  const stats = collecting.ingest.stats.get('wrong');
  expect(stats).toMatchObject({ state: 'waiting', reconnects: 1 });
  expect(stats?.lastError).toContain('authentication failed (401)');
  expect(JSON.stringify([collecting.entries, stats])).not.toContain('secret');
});

test('while Kafka is unreachable the newest seconds are kept, and gaps in the numbers equal the counted drops', async () => {
  const { url } = await cameras();
  let away = false;
  const collecting = collectingIngest({ bufferSeconds: 1 }, async () => {
    if (away) throw new Error('broker away');
  });
  void run(collecting, [stream('yard', `${url}/yard`, 25)]);
  await captured(collecting, 'yard').toBeGreaterThan(5);
  away = true;
  const stats = () => collecting.ingest.stats.get('yard');
  await expect.poll(() => stats()?.dropped, { timeout: 10_000 }).toBeGreaterThan(10);
  away = false;
  const before = collecting.of('yard').length;
  await captured(collecting, 'yard').toBeGreaterThan(before + 20);
  const numbers = collecting.of('yard').map(({ frameNumber }) => frameNumber);
  expect(new Set(numbers).size).toBe(numbers.length);
  expect(numbers).toEqual([...numbers].sort((one, other) => one - other));
  expect((numbers.at(-1) ?? 0) + 1 - numbers.length).toBe(stats()?.dropped);
});

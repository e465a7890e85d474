import { readdirSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { type CameraOptions, type Cameras, serveRtsp, startCameras } from '@video-pipeline/camera';
import sharp from 'sharp';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { openSource } from '../../ingest-host/src/source/open.ts';
import type { Channel } from '../../packages/camera/src/channel.ts';
import { loadClip } from '../../packages/camera/src/clip.ts';
import { clipChannel } from '../../packages/camera/src/player.ts';
import { packetize } from '../../packages/camera/src/rtp.ts';
import { collectingIngest, stream } from '../support/collect.ts';
import { jpegSize } from '../support/jpeg.ts';
import { startProxy } from '../support/proxy.ts';
import { evenTimes, makeVideo, videoFolder } from '../support/video.ts';

const folder = await videoFolder();
let clip: string;
const undo: (() => Promise<void>)[] = [];

beforeAll(async () => {
  clip = await makeVideo(folder.path('clip.mp4'), { times: evenTimes(100, 25), gop: 25 });
});
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});
afterAll(() => folder.remove());

async function cameras(options: Partial<CameraOptions> = {}): Promise<Cameras> {
  const started = await startCameras({ clips: { yard: clip }, ...options });
  undo.push(() => started.close());
  return started;
}

async function proxy(target: string) {
  const started = await startProxy(target);
  undo.push(() => started.close());
  return started;
}

type Collecting = ReturnType<typeof collectingIngest>;

function run(collecting: Collecting, specs: Parameters<Collecting['ingest']['run']>[0]): Promise<void> {
  undo.push(() => collecting.ingest.stop(1000));
  return collecting.ingest.run(specs);
}

test('a camera that freezes without closing its connection is reconnected', async () => {
  const between = await proxy((await cameras()).url);
  const collecting = collectingIngest({ stallSeconds: 1 });
  void run(collecting, [stream('yard', `${between.url}/yard`)]);
  const count = () => collecting.of('yard').length;
  await expect.poll(count, { timeout: 10_000 }).toBeGreaterThan(5);
  between.freeze();
  await expect.poll(() => collecting.ingest.stats.get('yard')?.lastError).toBe('no picture for 1 s');
  const before = count();
  await expect.poll(count, { timeout: 10_000 }).toBeGreaterThan(before + 5);
});

test('a lost camera is replaced by its fallback URL until it is back', async () => {
  const [first, second] = [await cameras(), await cameras()];
  const main = await proxy(first.url);
  const collecting = collectingIngest();
  const spec = {
    ...stream('yard', `${main.url}/yard`),
    fallback: [`${second.url}/yard`],
    fallbackSeconds: 0.3,
  };
  void run(collecting, [spec]);
  const stats = () => collecting.ingest.stats.get('yard');
  const flows = async (fallback: number | undefined) => {
    await expect.poll(stats, { timeout: 10_000 }).toMatchObject({ state: 'flowing', fallback });
    const before = collecting.frames.length;
    await expect.poll(() => collecting.frames.length, { timeout: 10_000 }).toBeGreaterThan(before + 5);
  };
  await flows(undefined);
  main.cut('rtsp://127.0.0.1:1');
  await flows(1);
  main.cut(first.url);
  await flows(undefined);
  const numbers = collecting.frames.map(({ frameNumber }) => frameNumber);
  expect(numbers).toEqual(numbers.map((_, index) => index));
});

test('the end of a fallback file does not end the stream of the camera', async () => {
  const first = await cameras();
  const main = await proxy('rtsp://127.0.0.1:1');
  const collecting = collectingIngest();
  void run(collecting, [{ ...stream('yard', `${main.url}/yard`), fallback: [clip] }]);
  const stats = () => collecting.ingest.stats.get('yard');
  await expect.poll(() => stats()?.reconnects, { timeout: 10_000 }).toBeGreaterThan(1);
  main.cut(first.url);
  await expect.poll(stats, { timeout: 15_000 }).toMatchObject({ state: 'flowing', fallback: undefined });
});

test('a connection that is cut within a picture gives no broken JPEG', async () => {
  const between = await proxy((await cameras()).url);
  const collecting = collectingIngest();
  void run(collecting, [stream('yard', `${between.url}/yard`, 25)]);
  for (const enough of [10, 20, 30]) {
    await expect.poll(() => collecting.frames.length, { timeout: 10_000 }).toBeGreaterThan(enough);
    between.cut();
  }
  await expect.poll(() => collecting.ingest.stats.get('yard')?.reconnects, { timeout: 10_000 }).toBe(3);
  for (const { jpeg, width, height } of collecting.frames) expect(jpegSize(jpeg)).toEqual({ width, height });
  expect(collecting.frames.map(({ frameNumber }) => frameNumber)).toEqual(
    collecting.frames.map((_, index) => index),
  );
});

test('a partial key frame is detected as lost, also when frame numbers wrap', async () => {
  // frame_num has four bits here: the last before a key frame has the number of the one after it.
  const luma = (x: number, y: number, index: number) =>
    40 + 60 * Math.floor(index / 18) + ((x * 7 + y * 13) % 17);
  const path = await makeVideo(folder.path('round.mp4'), { times: evenTimes(54, 25), gop: 18, luma });
  const channel = clipChannel(await loadClip(path));
  const isKey = (packets: Buffer[]) =>
    packets.some((one) => ((one[12] ?? 0) & 31) === 28 && ((one[13] ?? 0) & 31) === 5);
  let keys = 0;
  const lossy: Channel = {
    describe: (...asked) => channel.describe(...asked),
    play: (outlet, letGo) => {
      const sendRtp = (packets: Buffer[]) =>
        outlet.sendRtp(isKey(packets) && keys++ === 1 ? packets.toSpliced(3, 1) : packets);
      return channel.play({ ...outlet, sendRtp }, letGo);
    },
  };
  const camera = await serveRtsp(new Map([['yard', lossy]]), {});
  undo.push(() => camera.close());
  const collecting = collectingIngest();
  void run(collecting, [stream('yard', `${camera.url}/yard`, 25)]);
  await expect.poll(() => collecting.frames.length, { timeout: 10_000 }).toBeGreaterThan(50);
  expect(keys).toBeGreaterThan(2);
  const levels = await Promise.all(
    collecting.frames.map(async ({ jpeg }) => Math.round((await sharp(jpeg).stats()).channels[0]?.mean ?? 0)),
  );
  const changes = levels.flatMap((level, at) => (Math.abs(level - (levels[at - 1] ?? 0)) > 20 ? [at] : []));
  // A smear would show the former picture for twice as long.
  for (const [index, at] of changes.entries())
    expect((changes[index + 1] ?? at) - at).toBeLessThanOrEqual(18);
  expect(levels.length - (changes.at(-1) ?? 0)).toBeLessThanOrEqual(18);
});

test('a key frame whose packets are all lost is detected, also when FFmpeg reads them much later', async () => {
  const [gop, count] = [17, 60];
  const level = (index: number) => 40 + 40 * Math.floor(index / gop);
  const luma = (x: number, y: number, index: number) => level(index) + ((x * 7 + y * 13) % 17);
  const path = await makeVideo(folder.path('burst.mp4'), { times: evenTimes(count, 25), gop, luma });
  const clip = await loadClip(path);
  const burst: Channel = {
    describe: clipChannel(clip).describe,
    play: ({ sendRtp }, letGo) => ({
      start: () => {
        const state = { ssrc: 1, sequence: 65_530, packets: 0, octets: 0 };
        for (const [index, { nals, pts }] of clip.units.entries()) {
          const sets = index % gop === 0 ? [clip.sps, clip.pps] : [];
          const packets = packetize([...sets, ...nals], pts + 9_000, state);
          if (index !== gop) sendRtp(packets);
        }
        setTimeout(letGo, 200);
      },
      stop: () => {},
    }),
  };
  const camera = await serveRtsp(new Map([['yard', burst]]), {});
  undo.push(() => camera.close());
  const damage = { lost: 0, corrupt: 0, undecodable: 0 };
  const source = await openSource(`${camera.url}/yard`, { transport: 'tcp', timeoutSeconds: 5, damage });
  undo.push(() => source.close());
  const shown: number[] = [];
  for await (const { frame, time } of source.pictures()) {
    const [index, luma] = [Math.round(time * 25), frame.toBuffer().subarray(0, 320 * 240)];
    shown.push(index);
    const mean = luma.reduce((sum, one) => sum + one, 0) / luma.length;
    expect(mean, `picture ${index}`).toBeCloseTo(level(index) + 8, -1);
  }
  const all = Array.from({ length: count }, (_, index) => index);
  // FFmpeg has no time for the first one.
  expect(shown).toEqual(all.filter((index) => (index > 0 && index < gop) || index >= 2 * gop));
  expect(damage.lost).toBe(gop - 1);
});

test.each(['closes', 'is silent'])(
  'a recording over RTSP is read once, when the server at its end %s',
  async (end) => {
    const recording = await loadClip(clip);
    const channel: Channel = {
      describe: (name, host) =>
        clipChannel(recording).describe(name, host)?.replace('m=video', 'a=range:npt=0-4.00\r\nm=video'),
      play: ({ sendRtp }, letGo) => ({
        start: () => {
          const state = { ssrc: 1, sequence: 0, packets: 0, octets: 0 };
          for (const { nals, pts, keyframe } of recording.units)
            sendRtp(packetize([...(keyframe ? [recording.sps, recording.pps] : []), ...nals], pts, state));
          if (end === 'closes') setTimeout(letGo, 200);
        },
        stop: () => {},
      }),
    };
    const camera = await serveRtsp(new Map([['yard', channel]]), {});
    undo.push(() => camera.close());
    const collecting = collectingIngest({ stallSeconds: 1 });
    await run(collecting, [stream('yard', `${camera.url}/yard`, 25)]);
    expect(collecting.ingest.stats.get('yard')).toMatchObject({ state: 'ended', reconnects: 0 });
    // FFmpeg has no time for the first one.
    expect(collecting.frames).toHaveLength(99);
  },
);

test('a stream whose resolution changes and whose times jump back continues', async () => {
  const small = await makeVideo(folder.path('small.ts'), { times: evenTimes(50, 25) });
  const large = await makeVideo(folder.path('large.ts'), {
    times: evenTimes(50, 25),
    width: 640,
    height: 360,
  });
  const both = folder.path('both.ts');
  await writeFile(both, Buffer.concat([await readFile(small), await readFile(large), await readFile(small)]));
  const collecting = collectingIngest();
  await run(collecting, [stream('yard', both)]);
  const sizes = collecting.frames.map(({ width, height }) => `${width}x${height}`);
  expect([...new Set(sizes)]).toEqual(['320x240', '640x360']);
  expect(sizes.filter((size) => size === '640x360').length).toBeGreaterThan(17);
  expect(sizes.length).toBeGreaterThan(56);
  expect(sizes.length).toBeLessThan(64);
  for (const { jpeg, width, height } of collecting.frames) expect(jpegSize(jpeg)).toEqual({ width, height });
});

test('five unreachable cameras do not disturb fifteen others', async () => {
  const ids = Array.from({ length: 15 }, (_, index) => `cam-${index}`);
  const alive = await cameras({ clips: Object.fromEntries(ids.map((id) => [id, clip])) });
  const silent = await proxy(alive.url);
  const dead = [
    stream('refused', 'rtsp://127.0.0.1:1/x'),
    stream('unknown', `${alive.url}/nowhere`),
    stream('nameless', 'rtsp://no-such-host.invalid/x'),
    stream('no-file', folder.path('absent.mp4')),
    stream('silent', `${silent.url}/cam-0`),
  ];
  const collecting = collectingIngest({ stallSeconds: 2 });
  void run(collecting, [...ids.map((id) => stream(id, `${alive.url}/${id}`, 4)), ...dead]);
  await delay(1000);
  silent.freeze();
  const least = () => Math.min(...ids.map((id) => collecting.of(id).length));
  await expect.poll(least, { timeout: 20_000 }).toBeGreaterThan(10);
  const given = () => dead.filter(({ id }) => collecting.ingest.stats.get(id)?.reconnects).length;
  await expect.poll(given, { timeout: 10_000 }).toBe(dead.length);
  for (const id of ids) expect(collecting.ingest.stats.get(id)).toMatchObject({ reconnects: 0, dropped: 0 });
  for (const { id } of dead)
    expect(collecting.entries.some(({ extra }) => extra.stream === id && extra.error)).toBe(true);
});

test('a hundred reconnects leak no file descriptors, threads or memory', async () => {
  const ids = Array.from({ length: 10 }, (_, index) => `cam-${index}`);
  const alive = await cameras({ clips: Object.fromEntries(ids.map((id) => [id, clip])) });
  const between = await proxy(alive.url);
  const collecting = collectingIngest();
  const all = ids.map((id) => stream(id, `${between.url}/${id}`, 2));
  void run(collecting, all);
  const counts = () => ids.map((id) => collecting.ingest.stats.get(id)?.captured ?? 0);
  const everyStreamFlows = async (since: number[]) => {
    const flows = () => counts().every((count, index) => count > (since[index] ?? 0));
    await expect.poll(flows, { timeout: 15_000, interval: 20 }).toBe(true);
  };
  const reconnects = () => ids.map((id) => collecting.ingest.stats.get(id)?.reconnects);
  let rounds = 0;
  const reconnectAll = async () => {
    between.cut();
    rounds += 1;
    await expect.poll(reconnects, { interval: 10 }).toEqual(ids.map(() => rounds));
    await everyStreamFlows(counts());
  };
  const usage = async () => {
    await delay(200);
    const count = (kind: string) => readdirSync(`/proc/self/${kind}`).length;
    return { descriptors: count('fd'), threads: count('task'), rss: process.memoryUsage().rss };
  };
  await everyStreamFlows([]);
  for (let round = 0; round < 3; round += 1) await reconnectAll();
  const before = await usage();
  for (let round = 0; round < 10; round += 1) await reconnectAll();
  const after = await usage();
  expect(after.descriptors).toBeLessThanOrEqual(before.descriptors);
  expect(after.threads).toBeLessThanOrEqual(before.threads);
  expect(after.rss - before.rss).toBeLessThan(30e6);
});

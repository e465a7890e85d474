import { startCameras } from '@video-pipeline/camera';
import { AVMEDIA_TYPE_VIDEO } from 'node-av/constants';
import { Dictionary, FormatContext, Packet } from 'node-av/lib';
import { afterAll, afterEach, expect, test } from 'vitest';
import { startRestream } from '../../ingest-host/src/restream.ts';
import { collectingIngest, stream } from '../support/collect.ts';
import { startProxy } from '../support/proxy.ts';
import { evenTimes, makeVideo, videoFolder } from '../support/video.ts';

const folder = await videoFolder();
const undo: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});
afterAll(() => folder.remove());

const stateOf = (collecting: ReturnType<typeof collectingIngest>, id = 'yard') =>
  collecting.ingest.stats.get(id);

test("frames of a recording have the time in its file name, and FFmpeg gets the stream's options", async () => {
  const path = folder.path('yard_2025-11-25T07-00-05Z.mjpeg');
  await makeVideo(path, { times: evenTimes(20, 25), codec: 'mjpeg' });
  const collecting = collectingIngest();
  await collecting.ingest.run([{ ...stream('yard', path, 25), ffmpeg: { framerate: 5 } }]);
  const start = Date.UTC(2025, 10, 25, 7, 0, 5);
  expect(collecting.frames.map(({ capturedAt }) => capturedAt - start)).toEqual(
    Array.from({ length: 20 }, (_, index) => index * 200),
  );
});

test('thirty files are all read beside thirty missing ones, a few at a time', async () => {
  const path = await makeVideo(folder.path('clip.mp4'), { times: evenTimes(10, 10) });
  const ids = Array.from({ length: 30 }, (_, index) => `file-${index}`);
  const absent = ids.map((id) => stream(`no-${id}`, folder.path('absent.mp4')));
  const collecting = collectingIngest();
  undo.push(() => collecting.ingest.stop(1000));
  void collecting.ingest.run([...absent, ...ids.map((id) => stream(id, path))]);
  await expect
    .poll(() => ids.filter((id) => stateOf(collecting, id)?.published === 10).length, { timeout: 20_000 })
    .toBe(ids.length);
});

test("without a decoding device the CPU decodes, and the stream's state has the reasons", async () => {
  const path = await makeVideo(folder.path('device.mp4'), { times: evenTimes(10, 10) });
  const collecting = collectingIngest();
  await collecting.ingest.run([{ ...stream('yard', path), hwaccel: 'auto' }]);
  expect(collecting.frames).toHaveLength(10);
  expect(stateOf(collecting)?.decoder).toMatch(/^cuda$|^vaapi$|^software \(cuda: .+; vaapi: .+\)$/);
});

/** Watches as a player does. @returns what came: codec, and times of its packets, seconds */
async function watch(url: string, transport: string, count: number, onPacket = () => {}) {
  await using input = new FormatContext();
  input.allocContext();
  const options = Dictionary.fromObject({ rtsp_transport: transport, timeout: '5000000' });
  const code = await input.openInput(url, null, options);
  if (code < 0) return undefined;
  const [video] = input.streams;
  using packet = new Packet();
  packet.alloc();
  let packets = 0;
  for (; packets < count && (await input.readFrame(packet)) >= 0; packets += 1) {
    packet.unref();
    onPacket();
  }
  return { isVideo: video?.codecpar.codecType === AVMEDIA_TYPE_VIDEO, packets };
}

test("a viewer gets the camera's own packets, and the camera serves only one client", async () => {
  const path = await makeVideo(folder.path('loop.mp4'), { times: evenTimes(50, 25), bFrames: 2 });
  const camera = await startCameras({ clips: { yard: path }, maxClients: 1 });
  const between = await startProxy(camera.url);
  const restream = await startRestream('127.0.0.1', 0, 'viewer:secret');
  const collecting = collectingIngest({ restream });
  undo.push(
    () => camera.close(),
    () => between.close(),
    () => restream.close(),
    () => collecting.ingest.stop(1000),
  );
  const yard = stream('yard', `${between.url}/yard`);
  void collecting.ingest.run([
    yard,
    {
      ...stream('hidden', 'rtsp://127.0.0.1:1/x'),
      masks: [
        [
          [0, 0],
          [1, 0],
          [1, 1],
        ],
      ],
    },
  ]);
  const flowing = () => expect.poll(() => stateOf(collecting)?.state, { timeout: 10_000 }).toBe('flowing');
  await flowing();
  const offered = restream.url.replace('//', '//viewer:secret@');
  const all = await Promise.all(
    ['tcp', 'tcp', 'udp'].map((transport) => watch(`${offered}/yard`, transport, 30)),
  );
  expect(all).toEqual(Array.from({ length: 3 }, () => ({ isVideo: true, packets: 30 })));
  expect(await watch(`${restream.url}/yard`, 'tcp', 1)).toBeUndefined();
  expect(await watch(`${offered}/hidden`, 'tcp', 1)).toBeUndefined();

  // It ends with the camera's connection, and is there again with the next.
  const { promise: watching, resolve } = Promise.withResolvers<void>();
  const endless = watch(`${offered}/yard`, 'tcp', 100_000, resolve);
  await watching;
  between.cut();
  expect((await endless)?.packets).toBeLessThan(100_000);
  await expect.poll(() => stateOf(collecting)?.reconnects, { timeout: 10_000 }).toBeGreaterThan(0);
  await flowing();
  expect(await watch(`${offered}/yard`, 'tcp', 5)).toEqual({ isVideo: true, packets: 5 });
});

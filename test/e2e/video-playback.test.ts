import { type DetectedFrame, encodeDetectedFrame, hourFolder } from '@video-pipeline/frame';
import { createAnnotate } from '@video-pipeline/functions/annotate';
import { createPutFailed } from '@video-pipeline/storage';
import Fastify from 'fastify';
import { AV_CODEC_ID_H264 } from 'node-av/constants';
import { FormatContext, Packet } from 'node-av/lib';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { addClipRoutes } from '../../packages/console/src/clip-routes.ts';
import { MemoryBucket } from '../support/memory-bucket.ts';
import { mskEvent } from '../support/msk-event.ts';
import { hasChromium, sharedChromium } from './chromium.ts';

const HOUR = Date.UTC(2026, 10, 25, 7);
/** Two batches of frames, not evenly in time, and one frame half a minute later. */
const OFFSETS = [...Array.from({ length: 50 }, (_, i) => 60_000 + i * 100 + (i % 3)), 95_000];
const SIZE = { width: 400, height: 300 };

const app = Fastify();
let playlist: { url: string; text: string };

beforeAll(async () => {
  const bucket = new MemoryBucket();
  const annotate = createAnnotate({
    store: bucket,
    prefix: 'annotated',
    form: 'video',
    putFailed: createPutFailed(bucket, 'annotate'),
    logger: { warn: (message) => expect.fail(String(message)) },
  });
  const frames = await Promise.all(
    OFFSETS.map(async (offset, frameNumber): Promise<DetectedFrame> => {
      const background = { r: 4 * frameNumber, g: 90, b: 40 };
      const jpeg = await sharp({ create: { ...SIZE, channels: 3, background } })
        .jpeg()
        .toBuffer();
      const of = { streamId: 'gate', session: 's1', model: 'm', detections: [], ...SIZE };
      return { ...of, frameNumber, capturedAt: HOUR + offset, jpeg };
    }),
  );
  for (let first = 0; first < frames.length; first += 25) {
    const records = frames.slice(first, first + 25).map(encodeDetectedFrame);
    await annotate(mskEvent('detections', [records], { offset: first }));
  }
  addClipRoutes(app, {
    bucket,
    tables: { search: () => expect.fail('nobody asks for it') },
    prefix: 'annotated',
    clipSettings: { CLIP_BEFORE_SECONDS: 1, CLIP_AFTER_SECONDS: 1 },
  });
  const address = await app.listen({ host: '127.0.0.1', port: 0 });
  const url = `${address}/api/streams/gate/video/${hourFolder(HOUR)}/index.m3u8`;
  const answer = await fetch(url);
  expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'application/vnd.apple.mpegurl']);
  playlist = { url, text: await answer.text() };
});
afterAll(() => app.close());

test('the playlist of an hour is read by FFmpeg, with each picture at its time', async () => {
  await using input = new FormatContext();
  input.allocContext();
  expect(await input.openInput(playlist.url)).toBeGreaterThanOrEqual(0);
  expect(await input.findStreamInfo()).toBeGreaterThanOrEqual(0);
  const [stream] = input.streams;
  expect(stream?.codecpar).toMatchObject({ codecId: AV_CODEC_ID_H264, ...SIZE });
  using packet = new Packet();
  packet.alloc();
  const times: number[] = [];
  while ((await input.readFrame(packet)) >= 0) {
    times.push((Number(packet.pts) * 1000 * (stream?.timeBase.num ?? 0)) / (stream?.timeBase.den ?? 1));
    packet.unref();
  }
  const shown = times.map((time) => Math.round(time - (times[0] ?? 0)));
  expect(shown).toEqual(OFFSETS.map((one) => one - 60_000));
  expect(playlist.text).toContain(
    `#EXT-X-PROGRAM-DATE-TIME:${new Date(HOUR + (OFFSETS[25] ?? 0)).toISOString()}`,
  );
  for (const other of [playlist.url.replace('/gate/', '/yard/'), new URL('1-2-x-0-0-1.mp4', playlist.url)])
    expect((await fetch(other)).status).toBe(404);
});

test.skipIf(!hasChromium)('the playlist plays in Chromium, and a seek shows the exact frame', async () => {
  const names = playlist.text.split('\n').filter((line) => line.endsWith('.mp4'));
  expect(names).toHaveLength(3);
  const segments = await Promise.all(
    names.map(async (name) => {
      const answer = await fetch(new URL(name, playlist.url));
      return Buffer.from(await answer.arrayBuffer()).toString('base64');
    }),
  );
  const page = await (await sharedChromium()).newPage();
  try {
    const seen = await page.evaluate(async (all) => {
      const video = document.body.appendChild(document.createElement('video'));
      const source = new MediaSource();
      const event = (target: EventTarget, name: string) =>
        new Promise((resolve) => target.addEventListener(name, resolve, { once: true }));
      video.src = URL.createObjectURL(source);
      await event(source, 'sourceopen');
      const buffer = source.addSourceBuffer('video/mp4; codecs="avc1.42c028"');
      for (const one of all) {
        buffer.appendBuffer(Uint8Array.from(atob(one), (character) => character.charCodeAt(0)));
        await event(buffer, 'updateend');
      }
      const shown = new Promise<number>((resolve) =>
        video.requestVideoFrameCallback((_, { mediaTime }) => resolve(mediaTime)),
      );
      video.currentTime = 62.45;
      const { buffered } = video;
      const ranges = Array.from({ length: buffered.length }, (_, i) => [buffered.start(i), buffered.end(i)]);
      return { ranges, mediaTime: await shown, width: video.videoWidth };
    }, segments);
    expect(seen.width).toBe(SIZE.width);
    // The last frame of the first segment: the next one is 2.5 s after the first.
    expect(seen.mediaTime).toBeCloseTo(62.4, 2);
    expect(seen.ranges.map((range) => range.map((time) => Math.round(time)))).toEqual([
      [60, 65],
      [95, 96],
    ]);
  } finally {
    await page.close();
  }
});

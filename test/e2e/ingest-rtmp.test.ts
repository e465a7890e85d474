import { once } from 'node:events';
import { createRequire } from 'node:module';
import type { AddressInfo, Server } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { fetchAsset, type NpmAsset } from '@video-pipeline/assets';
import { Demuxer, Muxer } from 'node-av/api';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { collectingIngest, stream } from '../support/collect.ts';
import { jpegSize } from '../support/jpeg.ts';
import { evenTimes, makeVideo, videoFolder } from '../support/video.ts';

/** A server that is none of ours (Apache-2.0). Of the package only its RTMP half runs, which needs none of its dependencies. */
const NODE_MEDIA_SERVER: NpmAsset = {
  spec: 'node-media-server@4.4.3',
  integrity:
    'sha512-b/p1NQv/OSWrVidnrnGHCbX2oDwjJ4wZquMVHD0AlNjDn8en2GCxSg1qeEVUNOJy0Pdj4hzC6LDL4XEkr30NTA==',
  files: [
    ...['src/server/rtmp_server.js', 'src/core/context.js', 'src/core/logger.js', 'package.json'],
    // What those require.
    ...['src/session/rtmp_session.js', 'src/session/base_session.js', 'src/server/broadcast_server.js'],
    ...['src/protocol/rtmp.js', 'src/protocol/amf.js', 'src/protocol/flv.js', 'src/core/avpacket.js'],
  ],
};
interface RtmpServer {
  tcpServer: Server;
  stop(): void;
}

const SECONDS = 3;
const folder = await videoFolder();
let clip: string;
let server: RtmpServer;
let url: string;

beforeAll(async () => {
  clip = await makeVideo(folder.path('clip.flv'), { times: evenTimes(SECONDS * 25, 25), gop: 25 });
  const [rtmp = '', context = '', logger = ''] = await fetchAsset(NODE_MEDIA_SERVER);
  const require = createRequire(import.meta.url);
  require(logger).level = 'error';
  require(context).config = { rtmp: { port: 1935 } };
  server = new (require(rtmp))() as RtmpServer;
  await once(server.tcpServer.listen(0, '127.0.0.1'), 'listening');
  url = `rtmp://127.0.0.1:${(server.tcpServer.address() as AddressInfo).port}/live/yard`;
});
afterAll(async () => {
  server?.stop();
  await folder.remove();
});

/** A camera that publishes the clip in real time. */
async function publish(): Promise<void> {
  await using input = await Demuxer.open(clip);
  const video = input.video();
  if (!video) throw new Error('the clip has no video');
  await using output = await Muxer.open(url, { format: 'flv' });
  const index = output.addStream(video);
  const started = performance.now();
  let sent = 0;
  for await (using packet of input.packets(video.index)) {
    if (!packet) break;
    await delay(Math.max(0, started + sent++ * 40 - performance.now()));
    await output.writePacket(packet, index);
  }
}

test('RTMP from a server that a camera publishes to is read', async () => {
  const published = publish();
  const collecting = collectingIngest();
  void collecting.ingest.run([stream('yard', url)]);
  await published;
  await collecting.ingest.stop(1000);
  const { frames } = collecting;
  expect(frames.length).toBeGreaterThan((SECONDS - 2) * 10);
  expect(frames.map(({ frameNumber }) => frameNumber)).toEqual(frames.map((_, index) => index));
  for (const { jpeg } of frames) expect(jpegSize(jpeg)).toEqual({ width: 320, height: 240 });
});

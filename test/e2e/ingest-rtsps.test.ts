import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { type Cameras, startCameras } from '@video-pipeline/camera';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { openSource } from '../../ingest-host/src/source/open.ts';
import { makeCertificate } from '../support/certificate.ts';
import { collectingIngest, stream } from '../support/collect.ts';
import { jpegSize } from '../support/jpeg.ts';
import { startProxy } from '../support/proxy.ts';
import { evenTimes, makeVideo, videoFolder } from '../support/video.ts';

const folder = await videoFolder();
const undo: (() => Promise<unknown>)[] = [];
let cameras: Cameras;
let secure: Awaited<ReturnType<typeof startProxy>>;

beforeAll(async () => {
  const clip = await makeVideo(folder.path('clip.mp4'), { times: evenTimes(100, 25), gop: 25 });
  cameras = await startCameras({ clips: { yard: clip }, user: 'admin:p@ss' });
  const { server } = await makeCertificate(folder.path(''));
  secure = await startProxy(cameras.url, { cert: server, key: server });
});
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});
afterAll(async () => {
  await secure?.close();
  await cameras?.close();
  await folder.remove();
});

function run(transport: 'tcp' | 'udp', stallSeconds = 5) {
  const collecting = collectingIngest({ stallSeconds });
  undo.push(() => collecting.ingest.stop(1000));
  const url = `${secure.url.replace('//', '//admin:p%40ss@')}/yard`;
  void collecting.ingest.run([{ ...stream('yard', url), transport }]);
  return collecting;
}

// UDP is asked for in vain: in the open, it would defeat the TLS.
test.each(['tcp', 'udp'] as const)(
  'rtsps with a self-signed certificate and a password is read with transport %s',
  async (transport) => {
    const { frames, ingest } = run(transport);
    await expect.poll(() => frames.length, { timeout: 10_000 }).toBeGreaterThan(10);
    expect(ingest.stats.get('yard')).toMatchObject({ reconnects: 0, dropped: 0 });
    expect(frames.map(({ frameNumber }) => frameNumber)).toEqual(frames.map((_, index) => index));
    for (const { jpeg } of frames) expect(jpegSize(jpeg)).toEqual({ width: 320, height: 240 });
  },
);

test('a camera over TLS that freezes or is cut off is reconnected', async () => {
  const { frames, ingest } = run('tcp', 1);
  for (const fault of [() => secure.freeze(), () => secure.cut()]) {
    const before = frames.length;
    await expect.poll(() => frames.length, { timeout: 10_000 }).toBeGreaterThan(before + 5);
    fault();
  }
  await expect.poll(() => ingest.stats.get('yard')?.reconnects, { timeout: 10_000 }).toBe(2);
});

test('a port that does not respond to TLS is an error after the timeout', async () => {
  const sockets: Socket[] = [];
  const silent = createServer((socket) => void sockets.push(socket)).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  undo.push(async () => {
    for (const socket of sockets) socket.destroy();
    silent.close();
  });
  const options = { transport: 'tcp', timeoutSeconds: 1 } as const;
  const { port } = silent.address() as AddressInfo;
  const started = performance.now();
  await expect(openSource(`rtsps://127.0.0.1:${port}/yard`, options)).rejects.toThrow(/^open: /);
  await expect(openSource(`${cameras.url.replace('rtsp', 'rtsps')}/yard`, options)).rejects.toThrow(
    /^open: /,
  );
  expect(performance.now() - started).toBeLessThan(5_000);
});

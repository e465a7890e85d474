import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import sharp from 'sharp';
import { afterAll, afterEach, expect, test } from 'vitest';
import { collectingIngest, stream } from '../support/collect.ts';
import { evenTimes, makeVideo, videoFolder } from '../support/video.ts';

const folder = await videoFolder();
const undo: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});
afterAll(() => folder.remove());

async function serve(answer: RequestListener): Promise<string> {
  const server = createServer(answer);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  undo.push(async () => {
    server.closeAllConnections();
    server.close();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function run(specs: ReturnType<typeof stream>[]) {
  const collecting = collectingIngest();
  undo.push(() => collecting.ingest.stop(1000));
  void collecting.ingest.run(specs);
  return collecting;
}

/** A camera that pushes JPEGs over HTTP, as many makers' do beside RTSP, to who shows the password. */
async function mjpegCamera(framesPerSecond: number): Promise<string> {
  const jpeg = await sharp({ create: { width: 320, height: 240, channels: 3, background: 'teal' } })
    .jpeg()
    .toBuffer();
  const part = `--frame\r\nContent-Type: image/jpeg\r\nContent-Length: ${jpeg.length}\r\n\r\n`;
  return serve((request, response) => {
    if (request.headers.authorization !== `Basic ${btoa('admin:p@ss')}`) {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="camera"' }).end();
      return;
    }
    response.writeHead(200, { 'content-type': 'multipart/x-mixed-replace; boundary=frame' });
    const started = performance.now();
    let sent = 0;
    const timer = setInterval(() => {
      for (; sent < ((performance.now() - started) * framesPerSecond) / 1000; sent += 1) {
        response.write(Buffer.concat([Buffer.from(part), jpeg, Buffer.from('\r\n')]));
      }
    }, 5);
    response.on('close', () => clearInterval(timer));
  });
}

test.each([
  [8, 10, 8],
  [15, 10, 10],
  [40, 10, 10],
])('MJPEG over HTTP at %i frames/s, sampled at %i: %i come', async (rate, wanted, expected) => {
  const address = await mjpegCamera(rate);
  const { ingest, frames } = run([stream('yard', `http://admin:p%40ss@${address}/video.mjpg`, wanted)]);
  await expect.poll(() => frames.length, { timeout: 20_000 }).toBeGreaterThan(3 * expected);
  const [first, last] = [frames[0], frames.at(-1)];
  const seconds = ((last?.capturedAt ?? 0) - (first?.capturedAt ?? 0)) / 1000;
  expect(Math.abs((frames.length - 1) / seconds / expected - 1)).toBeLessThan(0.1);
  expect([first?.width, first?.height]).toEqual([320, 240]);
  expect(ingest.stats.get('yard')?.reconnects).toBe(0);
});

test('HLS', async () => {
  const segment = await readFile(await makeVideo(folder.path('a.ts'), { times: evenTimes(50, 25), gop: 25 }));
  const playlist = '#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXTINF:2.0,\na.ts\n#EXT-X-ENDLIST\n';
  const address = await serve(({ url }, response) => void response.end(url === '/a.ts' ? segment : playlist));
  const { frames } = run([stream('yard', `http://${address}/live.m3u8`)]);
  await expect.poll(() => frames.length, { timeout: 20_000 }).toBeGreaterThanOrEqual(19);
});

test('a wrong password over HTTP is said', async () => {
  const address = await mjpegCamera(10);
  const { ingest } = run([stream('yard', `http://admin:secret@${address}/video.mjpg`)]);
  const error = () => ingest.stats.get('yard')?.lastError;
  await expect.poll(error, { timeout: 10_000 }).toContain('authentication failed (401)');
});

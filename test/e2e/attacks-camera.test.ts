import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { VideoSource } from '../../ingest-host/src/source.ts';
import { collectingIngest, stream } from '../support/collect.ts';
import { evenTimes, makeVideo, videoFolder } from '../support/video.ts';

const folder = await videoFolder();
let clip: string;
const undo: (() => Promise<unknown> | unknown)[] = [];

beforeAll(async () => {
  clip = await makeVideo(folder.path('clip.ts'), { times: evenTimes(50, 25), gop: 25 });
});
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});
afterAll(() => folder.remove());

async function listen(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  undo.push(() => server.close());
  return (server.address() as AddressInfo).port;
}

/** Writes `bytes` every `ms` milliseconds, as long as the other end takes them. */
function pour(socket: Socket, bytes: string, ms: number): void {
  const timer = setInterval(() => socket.writableLength < 1e6 && socket.write(bytes), ms);
  socket.on('close', () => clearInterval(timer));
}

/** Answers each request with the headers and the body. */
function answer(socket: Socket, status: string, headers: string, body = ''): void {
  socket.on('data', (request) => {
    const sequence = /CSeq: (\d+)/i.exec(request.toString('latin1'))?.[1];
    socket.write(`RTSP/1.0 ${status}\r\nCSeq: ${sequence}\r\n${headers}\r\n\r\n${body}`);
  });
}

const sdp = (body: string) => `Content-Type: application/sdp\r\nContent-Length: ${body.length}`;
const manyTracks = `v=0\r\n${'m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n'.repeat(20_000)}`;
const hugePicture =
  'v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n' +
  `a=fmtp:96 sprop-parameter-sets=${'A'.repeat(100_000)}\r\na=control:x\r\n`;

/** What a camera in an enemy's hands may do with a connection. */
const hostile: Record<string, (socket: Socket) => void> = {
  silence: () => {},
  'a byte now and then': (socket) => pour(socket, 'R', 100),
  garbage: (socket) => pour(socket, '\0\x01\xff$\n', 50),
  'an endless line': (socket) => pour(socket, 'a'.repeat(60_000), 5),
  'endless headers': (socket) => {
    answer(socket, '200 OK', 'X: 1');
    pour(socket, `X: ${'a'.repeat(60_000)}\r\n`, 5);
  },
  'a body of 2 GB': (socket) => {
    answer(socket, '200 OK', 'Content-Type: application/sdp\r\nContent-Length: 2147483000', 'v=0\r\n');
    pour(socket, 'a'.repeat(60_000), 5);
  },
  'a negative length': (socket) =>
    answer(socket, '200 OK', 'Content-Type: application/sdp\r\nContent-Length: -5'),
  'twenty thousand tracks': (socket) => answer(socket, '200 OK', sdp(manyTracks), manyTracks),
  'endless parameter sets': (socket) => answer(socket, '200 OK', sdp(hugePicture), hugePicture),
  'a redirection to itself': (socket) =>
    answer(socket, '302 Moved', `Location: rtsp://127.0.0.1:${socket.localPort}/x`),
};

test('hostile cameras are let go, reported and tried again, and stop when told', async () => {
  const specs = await Promise.all(
    Object.values(hostile).map(async (behave, index) => {
      const server = createServer((socket) => {
        socket.on('error', () => {});
        behave(socket);
      });
      return stream(`hostile-${index}`, `rtsp://admin:secret@127.0.0.1:${await listen(server)}/x`);
    }),
  );
  const collecting = collectingIngest({ stallSeconds: 1 });
  const before = process.memoryUsage().rss;
  const ended = collecting.ingest.run(specs);
  const letGo = () => specs.filter(({ id }) => (collecting.ingest.stats.get(id)?.reconnects ?? 0) > 0).length;
  await expect.poll(letGo, { timeout: 15_000 }).toBe(specs.length);
  expect(JSON.stringify(collecting.entries)).not.toContain('secret');
  expect(process.memoryUsage().rss - before).toBeLessThan(300e6);
  const began = performance.now();
  await collecting.ingest.stop(1000);
  await ended;
  expect(performance.now() - began).toBeLessThan(4_000);
});

/** Pictures that a source gives before it ends or fails. */
async function pictures(url: string): Promise<number> {
  let count = 0;
  try {
    const source = await VideoSource.open(url, { transport: 'tcp', timeoutSeconds: 2 });
    undo.push(() => source.close());
    for await (const _picture of source.pictures()) count++;
  } catch {
    // A refusal is what the test is about.
  }
  return count;
}

test('a source on the network leads to no file, and a file to no address', async () => {
  const playlist = (segment: string) =>
    `#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n${segment}\n#EXT-X-ENDLIST\n`;
  const asked: string[] = [];
  const http = createHttpServer((request, response) => {
    asked.push(request.url ?? '');
    if (request.url === '/moved') response.writeHead(302, { location: `file://${clip}` }).end();
    else if (request.url === '/list.m3u8') response.end(playlist(`file://${clip}`));
    else if (request.url === '/concat') response.end(`ffconcat version 1.0\nfile 'file://${clip}'\n`);
    else response.writeHead(404).end();
  });
  const web = `http://127.0.0.1:${await listen(http)}`;
  for (const path of ['/moved', '/list.m3u8', '/concat']) expect(await pictures(web + path), path).toBe(0);

  asked.length = 0;
  const local = folder.path('local.m3u8');
  await writeFile(local, playlist(`${web}/latest/meta-data`));
  expect(await pictures(local)).toBe(0);
  const rtsp = createServer((socket) => answer(socket, '302 Moved', `Location: ${web}/latest/meta-data`));
  expect(await pictures(`rtsp://127.0.0.1:${await listen(rtsp)}/x`)).toBe(0);
  expect(asked).toEqual([]);
  expect(await pictures(clip), 'the very file is a good one').toBe(50);
});

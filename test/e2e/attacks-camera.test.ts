import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer, type ServerResponse } from 'node:http';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { openSource } from '../../ingest-host/src/source/open.ts';
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

test('hostile cameras are disconnected, reported and retried, and their streams end at a stop', async () => {
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
async function pictures(url: string, options: { hosts?: string[] } = {}): Promise<number> {
  let count = 0;
  try {
    const source = await openSource(url, { transport: 'tcp', timeoutSeconds: 2, ...options });
    undo.push(() => source.close());
    for await (const _picture of source.pictures()) count++;
  } catch {
    // A refusal is what the test is about.
  }
  return count;
}

test('an HLS list from the network can not open a file, and a local list can not open a network address', async () => {
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

test('an H.264 stream with pictures of over 20 million pixels is rejected', async () => {
  const wide = await makeVideo(folder.path('wide.ts'), {
    times: [0, 0.04],
    width: 8192,
    height: 4096,
    luma: () => 99,
  });
  const http = createHttpServer(async (_request, response) => response.end(await readFile(wide)));
  const url = `http://127.0.0.1:${await listen(http)}/wide.ts`;
  const source = await openSource(url, { transport: 'tcp', timeoutSeconds: 2 });
  undo.push(() => source.close());
  await expect(source.pictures().next()).rejects.toThrow('over 20 million pixels');
});

test("redirects, HLS segments and keys are fetched only from the camera's host and from allowed hosts", async () => {
  const hits: string[] = [];
  const segment = await readFile(clip);
  const inner = createHttpServer((request, response) => {
    hits.push(request.url ?? '');
    response.end(segment);
  });
  const place = `http://127.0.0.1:${await listen(inner)}`;
  const list = (body: string) => `#EXTM3U\n#EXT-X-TARGETDURATION:2\n${body}#EXT-X-ENDLIST\n`;
  const leading: Record<string, (response: ServerResponse) => void> = {
    '/moved': (response) => response.writeHead(302, { location: `${place}/moved` }).end(),
    '/moved-twice': (response) => response.writeHead(307, { location: '/moved' }).end(),
    '/metadata': (response) =>
      response.writeHead(301, { location: 'http://169.254.169.254/latest/meta-data' }).end(),
    '/secure': (response) => response.writeHead(302, { location: place.replace('http', 'https') }).end(),
    '/segment.m3u8': (response) => response.end(list(`#EXTINF:2,\n${place}/segment.ts\n`)),
    '/key.m3u8': (response) =>
      response.end(list(`#EXT-X-KEY:METHOD=AES-128,URI="${place}/key"\n#EXTINF:2,\na.ts\n`)),
    '/map.m3u8': (response) => response.end(list(`#EXT-X-MAP:URI="${place}/map.mp4"\n#EXTINF:2,\na.ts\n`)),
    '/variant.m3u8': (response) =>
      response.end(`#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n${place}/variant.m3u8\n`),
    '/moved-segment.m3u8': (response) => response.end(list('#EXTINF:2,\nmoved\n')),
    '/other-scheme.m3u8': (response) => response.end(list(`#EXTINF:2,\n${place.replace('http', 'tcp')}\n`)),
    '/a.ts': (response) => response.end(segment),
  };
  const http = createHttpServer((request, response) => leading[request.url ?? '']?.(response));
  const web = `http://127.0.0.1:${await listen(http)}`;
  undo.push(() => http.closeAllConnections());
  // A variable that would have FFmpeg go past what looks at its requests.
  process.env.no_proxy = '*';
  for (const path of Object.keys(leading).filter((one) => one !== '/a.ts')) {
    expect(await pictures(web + path), path).toBe(0);
    expect(hits, path).toEqual([]);
  }
  expect(await pictures(`${web}/a.ts`)).toBe(50);
  const named = { hosts: [new URL(place).host] };
  expect(await pictures(`${web}/moved`, named)).toBe(50);
  expect(await pictures(`${web}/segment.m3u8`, named)).toBe(50);
  expect(await pictures(`${web}/metadata`, { hosts: ['169.254.169.254'] })).toBe(0);
});

test("a redirect of an RTSP camera to another host or port is followed only if 'hosts' allows it", async () => {
  let reached = 0;
  const inner = createServer((socket) => {
    reached += 1;
    socket.destroy();
  });
  const place = `127.0.0.1:${await listen(inner)}`;
  for (const location of [
    `rtsp://${place}/x`,
    `rtsp://a:b@${place}`,
    'rtsp://169.254.169.254/latest',
    `http://${place}/x`,
  ]) {
    const camera = createServer((socket) => answer(socket, '302 Moved', `Location: ${location}`));
    const url = `rtsp://admin:secret@127.0.0.1:${await listen(camera)}/x`;
    const opening = openSource(url, { transport: 'tcp', timeoutSeconds: 2 });
    await expect(opening).rejects.toThrow(
      /it leads to (rtsp|http):.*, (which is neither its own host nor|another port of its host, which is not) among 'hosts'/,
    );
  }
  expect(reached).toBe(0);
  const camera = createServer((socket) => answer(socket, '301 Moved', `Location: rtsp://${place}/x`));
  const url = `rtsp://127.0.0.1:${await listen(camera)}/x`;
  await expect(openSource(url, { transport: 'tcp', timeoutSeconds: 2, hosts: [place] })).rejects.toThrow(
    /open: /,
  );
  expect(reached).toBeGreaterThan(0);
});

/** A camera that answers OPTIONS, and DESCRIBE with `status`. */
function refusing(status: string, headers: string): (socket: Socket) => void {
  return (socket) =>
    socket.on('data', (request) => {
      const text = request.toString('latin1');
      const line = text.startsWith('OPTIONS') ? '200 OK' : status;
      socket.write(`RTSP/1.0 ${line}\r\nCSeq: ${/CSeq: (\d+)/i.exec(text)?.[1]}\r\n${headers}\r\n\r\n`);
    });
}

test.each([
  ['454 Session Not Found', 'X: 1', /DESCRIBE was answered 454 Session Not Found/],
  ['453 Not Enough Bandwidth', 'X: 1', /DESCRIBE was answered 453/],
  ['461 Unsupported Transport', 'X: 1', /461 Unsupported Transport: try another 'transport'/],
  ['503 Service Unavailable', 'X: 1', /DESCRIBE was answered 503 Service Unavailable/],
  ['404 Not Found', 'X: 1', /no such stream on the camera \(404\)/],
  [
    '401 Unauthorized',
    'WWW-Authenticate: Digest realm="x", nonce="y", algorithm="SHA-256"',
    /check user and password/,
  ],
  [
    '401 Unauthorized',
    'WWW-Authenticate: Digest realm="x", nonce="y", algorithm=SHA-512-256',
    /authentication by sha-512-256 is not supported/,
  ],
])(
  "a camera's response '%s' with the header '%s' is an error that quotes the response",
  async (status, headers, error) => {
    const url = `rtsp://admin:secret@127.0.0.1:${await listen(createServer(refusing(status, headers)))}/x`;
    await expect(openSource(url, { transport: 'tcp', timeoutSeconds: 2 })).rejects.toThrow(error);
  },
);

test('a password that is not percent-encoded is an error that does not show the password', async () => {
  const opening = openSource('rtsp://admin:pa#ss@127.0.0.1/x', { transport: 'tcp', timeoutSeconds: 2 });
  await expect(opening).rejects.toThrow(/must be percent-encoded/);
});

import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer, type RequestListener } from 'node:http';
import { createServer as createTlsServer, type ServerOptions } from 'node:https';
import type { AddressInfo } from 'node:net';
import sharp from 'sharp';
import { afterAll, afterEach, expect, onTestFinished, test } from 'vitest';
import { makeCertificate } from '../support/certificate.ts';
import { collectingIngest, stream } from '../support/collect.ts';
import { jpegSize } from '../support/jpeg.ts';
import { evenTimes, makeVideo, videoFolder } from '../support/video.ts';

const folder = await videoFolder();
const undo: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});
afterAll(() => folder.remove());

async function serve(answer: RequestListener, tls?: ServerOptions): Promise<string> {
  const server = tls ? createTlsServer(tls, answer) : createServer(answer);
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

const plain = () =>
  sharp({ create: { width: 320, height: 240, channels: 3, background: 'teal' } })
    .jpeg()
    .toBuffer();

/** A camera that pushes JPEGs over HTTP, as many makers' do beside RTSP, to who shows the password. */
async function mjpegCamera(framesPerSecond: number): Promise<string> {
  const jpeg = await plain();
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
])('MJPEG over HTTP at %i frames/s, sampled at %i: %i are published', async (rate, wanted, expected) => {
  const address = await mjpegCamera(rate);
  const { ingest, frames } = run([stream('yard', `http://admin:p%40ss@${address}/video.mjpg`, wanted)]);
  // Of any three seconds: a busy machine takes and sends some pictures late.
  const deviation = () => {
    const [start = Number.NaN, ...times] = frames.slice(-1 - 3 * expected).map((frame) => frame.capturedAt);
    const seconds = ((times.at(-1) ?? Number.NaN) - start) / 1000;
    return times.length < 3 * expected ? 1 : Math.abs(times.length / seconds / expected - 1);
  };
  await expect.poll(deviation, { timeout: 20_000 }).toBeLessThan(0.1);
  expect([frames[0]?.width, frames[0]?.height]).toEqual([320, 240]);
  expect(ingest.stats.get('yard')?.reconnects).toBe(0);
});

test('an HLS recording is read completely', async () => {
  const segment = await readFile(await makeVideo(folder.path('a.ts'), { times: evenTimes(50, 25), gop: 25 }));
  const playlist = '#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXTINF:2.0,\na.ts\n#EXT-X-ENDLIST\n';
  const address = await serve(({ url }, response) => void response.end(url === '/a.ts' ? segment : playlist));
  const { frames } = run([stream('yard', `http://${address}/live.m3u8`)]);
  await expect.poll(() => frames.length, { timeout: 20_000 }).toBeGreaterThanOrEqual(19);
});

test('a wrong password over HTTP is reported', async () => {
  const address = await mjpegCamera(10);
  const { ingest } = run([stream('yard', `http://admin:secret@${address}/video.mjpg`)]);
  const error = () => ingest.stats.get('yard')?.lastError;
  await expect.poll(error, { timeout: 10_000 }).toContain('authentication failed (401)');
});

test.each([
  ['an HLS list with an end', 'vod.m3u8'],
  ['MPEG-TS', 'a.ts'],
  ['MP4', 'a.mp4'],
])('%s over HTTP is read once, and ends', async (_name, path) => {
  const times = evenTimes(50, 25);
  const [ts, mp4] = await Promise.all(
    ['a.ts', 'a.mp4'].map(async (name) => readFile(await makeVideo(folder.path(name), { times, gop: 25 }))),
  );
  const list = '#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXTINF:2.0,\na.ts\n#EXT-X-ENDLIST\n';
  let asked = 0;
  const address = await serve(({ url }, response) => {
    if (url === `/${path}`) asked += 1;
    response.end(url === '/a.ts' ? ts : url === '/a.mp4' ? mp4 : list);
  });
  const { ingest, frames } = collectingIngest();
  await ingest.run([stream('yard', `http://${address}/${path}`, 25)]);
  expect(frames).toHaveLength(50);
  expect(asked).toBeLessThan(4); // MP4 is asked for its end, too
  expect(ingest.stats.get('yard')).toMatchObject({ state: 'ended', reconnects: 0, dropped: 0 });
  expect((frames.at(-1)?.capturedAt ?? 0) - (frames[0]?.capturedAt ?? 0)).toBe(1_960);
});

test('live HLS: capture times are evenly spaced, although each segment arrives at once', async () => {
  const segments = await Promise.all(
    [0, 1, 2, 3, 4, 5].map(async (index) => {
      const times = evenTimes(25, 25).map((time) => time + index);
      return readFile(await makeVideo(folder.path(`s${index}.ts`), { times, gop: 25 }));
    }),
  );
  // From the first request on. The list keeps its old segments: a busy machine would miss them.
  let started: number | undefined;
  const address = await serve(({ url }, response) => {
    const segment = /\/s(\d)\.ts/.exec(url ?? '')?.[1];
    if (segment) return void response.end(segments[Number(segment)]);
    started ??= performance.now();
    const last = Math.min(5, 2 + Math.floor((performance.now() - started) / 1000));
    const names = Array.from({ length: last + 1 }, (_, index) => `#EXTINF:1.0,\ns${index}.ts\n`).join('');
    response.end(`#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:0\n${names}`);
  });
  const ticks: number[] = [];
  const timer = setInterval(() => ticks.push(performance.now()), 40);
  onTestFinished(() => clearInterval(timer));
  const { ingest, frames } = run([stream('yard', `http://${address}/live.m3u8`, 25)]);
  await expect.poll(() => frames.length, { timeout: 20_000 }).toBeGreaterThan(75);
  expect(ingest.stats.get('yard')).toMatchObject({ state: 'flowing', reconnects: 0 });
  const times = frames.slice(10, 75).map(({ capturedAt }) => capturedAt);
  const uneven = (all: number[]) =>
    all.slice(1).filter((time, index) => Math.abs(time - (all[index] ?? 0) - 40) > 25).length;
  // Of pictures that come as a segment does, nearly all are. One that the machine held up is followed by one that is early.
  // How often it holds up shows a timer beside it.
  expect(uneven(times)).toBeLessThan(times.length / 3 + 2 * uneven(ticks));
  const late = (all: number[]) => (all.at(-1) ?? 0) - (all[0] ?? 0) - (all.length - 1) * 40;
  expect(Math.abs(late(times))).toBeLessThan(200 + 2 * late(ticks));
});

test('HLS with dates over TLS: frames have these dates, also after a gap, and the stream ends', async () => {
  const segment = await readFile(await makeVideo(folder.path('d.ts'), { times: evenTimes(25, 25), gop: 5 }));
  const { server } = await makeCertificate(folder.path(''));
  const tls = { cert: server, key: server };
  const [first, second] = [Date.parse('2026-11-25T07:00:00Z'), Date.parse('2026-11-25T07:05:00Z')];
  const dated = (at: number) => `#EXT-X-PROGRAM-DATE-TIME:${new Date(at).toISOString()}\n#EXTINF:1.0,\n`;
  const address = await serve(({ url, headers }, response) => {
    const list =
      '#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n' +
      `${dated(first)}a.ts\n#EXT-X-DISCONTINUITY\n${dated(second)}https://${headers.host}/b.ts\n#EXT-X-ENDLIST\n`;
    response.end(url?.endsWith('.ts') ? segment : list);
  }, tls);
  const { ingest, frames } = collectingIngest();
  await ingest.run([
    stream('list', `https://${address}/live.m3u8`, 25),
    stream('plain', `https://${address}/a.ts`, 25),
  ]);
  const times = frames.filter(({ streamId }) => streamId === 'list').map(({ capturedAt }) => capturedAt);
  expect(times).toEqual([first, second].flatMap((start) => evenTimes(25, 25).map((at) => start + at * 1000)));
  expect(frames.filter(({ streamId }) => streamId === 'plain')).toHaveLength(25);
});

test('HLS dates near 1970 are not used, and frames have the time of arrival', async () => {
  const segment = await readFile(await makeVideo(folder.path('e.ts'), { times: evenTimes(25, 25), gop: 25 }));
  const address = await serve(({ url }, response) => {
    const list =
      '#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n' +
      `#EXT-X-PROGRAM-DATE-TIME:${new Date(10_000).toISOString()}\n#EXTINF:1.0,\na.ts\n#EXT-X-ENDLIST\n`;
    response.end(url?.endsWith('.ts') ? segment : list);
  });
  const began = Date.now();
  const { ingest, frames } = collectingIngest();
  await ingest.run([stream('yard', `http://${address}/live.m3u8`, 25)]);
  const [first = 0, ...later] = frames.map(({ capturedAt }) => capturedAt);
  expect(first).toBeGreaterThanOrEqual(began);
  expect(first).toBeLessThanOrEqual(Date.now());
  expect(later).toEqual(later.map((_, index) => first + 40 * (index + 1)));
  expect(later).toHaveLength(24);
});

test('live HLS with dates: frames have these dates, also when they are half a minute old', async () => {
  const segment = await readFile(await makeVideo(folder.path('l.ts'), { times: evenTimes(25, 25), gop: 25 }));
  const began = Date.now() - 30_000;
  const address = await serve(({ url }, response) => {
    if (url?.endsWith('.ts')) return void response.end(segment);
    const sequence = Math.floor((Date.now() - began) / 1000) - 5;
    const names = [0, 1, 2].map((index) => {
      const date = new Date(began + (sequence + index) * 1000 - 20_000).toISOString();
      return `#EXT-X-DISCONTINUITY\n#EXT-X-PROGRAM-DATE-TIME:${date}\n#EXTINF:1.0,\n${sequence + index}.ts\n`;
    });
    response.end(
      `#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:${sequence}\n${names.join('')}`,
    );
  });
  const { frames } = run([stream('yard', `http://${address}/live.m3u8`, 25)]);
  await expect.poll(() => frames.length, { timeout: 20_000 }).toBeGreaterThan(30);
  const places = frames.slice(0, 30).map(({ capturedAt }) => capturedAt - began);
  expect(places.map((place) => place % 40)).toEqual(places.map(() => 0));
  expect(Date.now() - (frames[0]?.capturedAt ?? 0)).toBeGreaterThan(20_000);
});

test.each([
  ['503 Service Unavailable', /it was answered 503 Service Unavailable/],
  ['404 Not Found', /no such stream on the camera \(404\)/],
  ['302 Found', /it was answered 302 Found: its redirects lead to no video/],
])('a server that responds with %s is reported with its status', async (status, error) => {
  const [code = '', ...words] = status.split(' ');
  const address = await serve(
    (_request, response) => void response.writeHead(Number(code), words.join(' ')).end(),
  );
  const { ingest } = run([stream('yard', `http://${address}/video.mjpg`)]);
  await expect.poll(() => ingest.stats.get('yard')?.lastError, { timeout: 10_000 }).toMatch(error);
});

// With noise: FFmpeg reads two kilobytes before it says what comes, and a plain picture has but one.
const still = (luma: number) =>
  sharp({
    create: {
      width: 320,
      height: 240,
      channels: 3,
      background: 'grey',
      noise: { type: 'gaussian', mean: luma, sigma: 30 },
    },
  })
    .jpeg()
    .toBuffer();

/** How a camera may send JPEGs: its type, and what stands before and after each. */
const WAYS = {
  'no length': ['multipart/x-mixed-replace; boundary=b', '--b\r\nContent-Type: image/jpeg\r\n\r\n', '\r\n'],
  'another type': ['multipart/x-mixed-replace; boundary=b', '--b\r\nContent-Type: image/jpg\r\n\r\n', '\r\n'],
  'dashes in its boundary': [
    'multipart/x-mixed-replace; boundary=--b',
    '--b\nContent-Type: image/jpeg\n\n',
    '\n',
  ],
  'a wrong length': ['multipart/x-mixed-replace;boundary=b', '--b\r\nContent-Length: 5\r\n\r\n', '\r\n'],
  'no boundary at all': ['application/octet-stream', '', ''],
} as const;

test(`MJPEG over HTTP is read with ${Object.keys(WAYS).join(', ')}`, async () => {
  const jpegs = await Promise.all([60, 120, 180].map(still));
  const cameras = Object.entries(WAYS).map(async ([name, [type, before, after]]) => {
    const address = await serve((_request, response) => {
      response.writeHead(200, { 'content-type': type });
      let sent = 0;
      const timer = setInterval(() => {
        response.write(
          Buffer.concat([Buffer.from(before), jpegs[sent++ % 3] ?? Buffer.alloc(0), Buffer.from(after)]),
        );
      }, 40);
      response.on('close', () => clearInterval(timer));
    });
    const { ingest, frames } = run([stream('yard', `http://${address}/video`, 50)]);
    await expect.poll(() => frames.length, { timeout: 10_000, message: name }).toBeGreaterThan(20);
    expect(ingest.stats.get('yard'), name).toMatchObject({ reconnects: 0, dropped: 0 });
    for (const { jpeg } of frames) expect(jpegSize(jpeg), name).toEqual({ width: 320, height: 240 });
  });
  await Promise.all(cameras);
});

test('snapshots are requested repeatedly, with Digest by SHA-256, and downloaded only when they are new', async () => {
  const jpegs = await Promise.all([60, 120, 180].map(still));
  const statuses: number[] = [];
  let asked = 0;
  const address = await serve((request, response) => {
    const answer = (status: number, headers: Record<string, string>, body?: Buffer) => {
      statuses.push(status);
      response.writeHead(status, headers).end(body);
    };
    const { authorization = '', 'if-none-match': known } = request.headers;
    const challenge = 'Digest realm="x", nonce="n", qop="auth", algorithm=SHA-256';
    if (!/algorithm="?SHA-256.*response="[0-9a-f]{64}"/.test(authorization))
      return answer(401, { 'www-authenticate': challenge });
    const turn = Math.min(2, Math.floor(asked++ / 5));
    if (known === `"${turn}"`) return answer(304, { etag: known });
    answer(200, { 'content-type': 'image/jpeg', etag: `"${turn}"` }, jpegs[turn]);
  });
  const { ingest, frames } = run([
    { ...stream('yard', `http://admin:secret@${address}/snap.jpg`, 25), ...{ period: 0.1 } },
  ]);
  await expect.poll(() => frames.length, { timeout: 10_000 }).toBe(3);
  await expect.poll(() => statuses.filter((status) => status === 304).length).toBeGreaterThan(10);
  expect(frames).toHaveLength(3);
  expect(statuses.filter((status) => status === 401)).toHaveLength(1);
  expect(ingest.stats.get('yard')).toMatchObject({ reconnects: 0, state: 'flowing' });
});

test('a snapshot with a content type other than image/jpeg is read, by a user whose name is not ASCII', async () => {
  const jpeg = await plain();
  const address = await serve(({ headers: { authorization = '' } }, response) => {
    const name = /username="(.*?)"/.exec(Buffer.from(authorization, 'latin1').toString())?.[1];
    if (name !== '山田') response.writeHead(401, { 'www-authenticate': 'Digest realm="x", nonce="y"' }).end();
    else response.writeHead(200, { 'content-type': 'text/plain', 'content-length': jpeg.length }).end(jpeg);
  });
  const { frames } = run([stream('yard', `http://%E5%B1%B1%E7%94%B0:p@${address}/snap`, 25)]);
  await expect.poll(() => frames.length, { timeout: 10_000 }).toBeGreaterThan(1);
});

test('a snapshot that fails or exceeds the limits is reported, and requested again', async () => {
  let asked = 0;
  const good = await still(90);
  const huge = Buffer.concat([good.subarray(0, 2), Buffer.alloc(9_000_000, Buffer.from('fffe7fff', 'hex'))]);
  const address = await serve((_request, response) => {
    asked += 1;
    response
      .writeHead(asked === 2 ? 500 : 200, { 'content-type': 'image/jpeg' })
      .end(asked < 3 ? good : huge);
  });
  const { ingest, frames, entries } = run([
    { ...stream('yard', `http://${address}/snap.jpg`), ...{ period: 0.1 } },
  ]);
  const errors = () => entries.map(({ extra }) => String(extra.error ?? '')).join();
  await expect.poll(errors, { timeout: 10_000 }).toMatch(/answered 500.*8192 KiB without a picture/s);
  expect(frames).toHaveLength(1);
  expect(ingest.stats.get('yard')?.reconnects).toBeGreaterThan(1);
});

test.each(['127.0.0.1', '@239.255.42.42'])('MPEG-TS over UDP to %s is read', async (host) => {
  const path = await makeVideo(folder.path('udp.ts'), { times: evenTimes(100, 25), gop: 12 });
  const bytes = await readFile(path);
  const socket = createSocket('udp4').bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const free = createSocket('udp4').bind(0, '127.0.0.1');
  await once(free, 'listening');
  const { port } = free.address();
  free.close();
  undo.push(async () => socket.close());
  const multicast = host.startsWith('@');
  if (multicast) socket.setMulticastInterface('127.0.0.1');
  const query = multicast ? '?localaddr=127.0.0.1' : '';
  const { frames, ingest } = run([stream('yard', `udp://${host}:${port}${query}`, 25)]);
  const packets = Math.ceil(bytes.length / 1316);
  let sent = 0;
  const timer = setInterval(() => {
    for (let count = 0; count < Math.ceil(packets / 100); count += 1, sent += 1) {
      socket.send(
        bytes.subarray((sent % packets) * 1316, ((sent % packets) + 1) * 1316),
        port,
        host.replace('@', ''),
      );
    }
  }, 40);
  undo.push(async () => clearInterval(timer));
  await expect.poll(() => frames.length, { timeout: 15_000 }).toBeGreaterThan(40);
  expect(ingest.stats.get('yard')).toMatchObject({ reconnects: 0, dropped: 0 });
});

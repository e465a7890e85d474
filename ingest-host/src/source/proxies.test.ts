import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer as createHttpServer, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, onTestFinished, test, vi } from 'vitest';
import { startFakeServer } from '../../../test/support/fake-server.ts';
import { authorizationOf } from './authorization.ts';
import { HttpProxy } from './http-proxy.ts';
import { isRecording } from './rtp-pictures.ts';
import { UdpTrack } from './rtp-udp.ts';
import { RtspProxy } from './rtsp-proxy.ts';
import { openTunnel } from './rtsp-tunnel.ts';

/** A camera that counts who comes. */
async function startCamera() {
  const clients: Socket[] = [];
  const server = createServer((socket) => clients.push(socket.on('error', () => {})));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    for (const client of clients) client.destroy();
    server.close();
  });
  return { place: `127.0.0.1:${(server.address() as AddressInfo).port}`, clients };
}

/** Says something at an address of this machine. @returns what came back before the other end closed */
async function say(address: string, text: string): Promise<string> {
  const socket = connect(Number(new URL(address).port), '127.0.0.1');
  let answer = '';
  socket.on('data', (data) => {
    answer += data;
  });
  socket.on('error', () => {});
  socket.write(text);
  await new Promise((resolve) => socket.once('close', resolve));
  return answer;
}

test('multicast packets reach FFmpeg over its connection, and only those of the camera', async () => {
  const camera = await startCamera();
  const proxy = await RtspProxy.open(new URL(`rtsp://${camera.place}/x`), { transport: 'udp_multicast' });
  onTestFinished(() => proxy.close());
  const ffmpeg = connect(Number(new URL(proxy.address).port), '127.0.0.1');
  onTestFinished(() => void ffmpeg.destroy());
  let received = Buffer.alloc(0);
  ffmpeg.on('data', (bytes) => {
    received = Buffer.concat([received, bytes]);
  });
  const setup = 'CSeq: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1';
  ffmpeg.write(`SETUP ${proxy.address}/1 RTSP/1.0\r\n${setup}\r\n\r\n`);
  await expect.poll(() => camera.clients.length).toBe(1);
  const [asked] = await once(camera.clients[0] as Socket, 'data');
  expect(String(asked)).toContain('\r\nTransport: RTP/AVP;multicast\r\n');
  const sender = createSocket('udp4').bind(0, '127.0.0.1');
  onTestFinished(() => void sender.close());
  await once(sender, 'listening');
  sender.setMulticastInterface('127.0.0.1');
  const { port } = sender.address();
  const place = `destination=239.255.42.42;port=${port}-${port};ttl=1`;
  camera.clients[0]?.write(`RTSP/1.0 200 OK\r\nCSeq: 1\r\nTransport: RTP/AVP;multicast;${place}\r\n\r\n`);
  const packet = Buffer.from([0x80, 0x80 | 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7, 0x65, 1]);
  const framed = Buffer.concat([Buffer.from([0x24, 0, 0, packet.length]), packet]);
  await expect.poll(() => String(received)).toContain('Transport: RTP/AVP/TCP;unicast;interleaved=0-1');
  sender.send(packet, port, '239.255.42.42');
  await expect.poll(() => received.includes(framed)).toBe(true);
});

test('a UDP track that opens while the proxy closes is closed, too', async () => {
  const ports = () => process.getActiveResourcesInfo().filter((kind) => kind === 'UDPWrap').length;
  // Those of the tests before this one.
  await expect.poll(ports).toBe(0);
  const camera = await startCamera();
  const proxy = await RtspProxy.open(new URL(`rtsp://${camera.place}/x`), { transport: 'udp' });
  const open = UdpTrack.open;
  let most = 0;
  const opened = vi.spyOn(UdpTrack, 'open').mockImplementationOnce(async (address) => {
    const track = await open(address);
    most = ports();
    proxy.close();
    return track;
  });
  onTestFinished(() => opened.mockRestore());
  const setup = 'CSeq: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1';
  await say(proxy.address, `SETUP ${proxy.address}/1 RTSP/1.0\r\n${setup}\r\n\r\n`);
  expect(most).toBe(2);
  await expect.poll(ports).toBe(0);
  proxy.close();
});

test.each(['destination=10.0.0.9;port=5000-5001', 'destination=239.1.1.1', 'unicast'])(
  'a multicast answer without a group is rejected: %s',
  async (answer) => {
    await expect(UdpTrack.join('127.0.0.1', `RTP/AVP;multicast;${answer}`, '127.0.0.1')).rejects.toThrow(
      'names no group',
    );
  },
);

/** A proxy between FFmpeg and a camera, whose ends a test plays. @param user with its @ @param part of the URL, with its # */
async function joined(user = '', part = '', options?: Parameters<typeof RtspProxy.open>[1]) {
  const camera = await startCamera();
  const proxy = await RtspProxy.open(new URL(`rtsp://${user}${camera.place}/x${part}`), options);
  const ffmpeg = connect(Number(new URL(proxy.address).port), '127.0.0.1');
  onTestFinished(() => {
    proxy.close();
    ffmpeg.destroy();
  });
  await expect.poll(() => camera.clients.length).toBe(1);
  const say = async (from: Socket, text: string, to: Socket) => {
    from.write(text, 'latin1');
    const [came] = await once(to, 'data');
    return (came as Buffer).toString('latin1');
  };
  return { proxy, ffmpeg, camera: camera.clients[0] as Socket, say };
}

const DESCRIBE = 'DESCRIBE rtsp://h/x RTSP/1.0\r\nCSeq: 1\r\n\r\n';

test('a session description that arrives byte by byte, after requests of the camera, is passed on', async () => {
  const { proxy, ffmpeg, camera, say } = await joined();
  expect(await say(ffmpeg, DESCRIBE, camera)).toBe(DESCRIBE);
  expect(await say(camera, 'OPTIONS rtsp://h RTSP/1.0\r\nCSeq: 7\r\n\r\n', camera)).toBe(
    'RTSP/1.0 200 OK\r\nCSeq: 7\r\n\r\n',
  );
  const body = 's=Cam\xc3\xa9ra \xe9\r\na=range:npt=0-12.5\r\nm=video 0 RTP/AVP 96\r\n';
  const answer = `RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  expect(await say(camera, `RTSP/1.0 100 Continue\r\nCSeq: 1\r\n\r\n${answer}`, ffmpeg)).toBe(answer);
  expect(proxy.hasEnd).toBe(true);
});

test.each(['npt=now-', 'npt=0.000-', 'npt=0-0.00', 'clock=20261125T070000Z-'])(
  'a camera with the range %s is not a recording',
  (range) => {
    expect(isRecording(`v=0\r\na=range:${range}\r\nm=video 0 RTP/AVP 96\r\n`)).toBe(false);
  },
);

test('a nonce that is stale at each request is replaced each time', async () => {
  const { ffmpeg, camera, say } = await joined('admin:p@');
  await say(ffmpeg, DESCRIBE, camera);
  const refusal = (nonce: string) =>
    `RTSP/1.0 401 Unauthorized\r\nCSeq: 1\r\nWWW-Authenticate: Digest realm="x", nonce="${nonce}", stale=true\r\n\r\n`;
  for (const nonce of ['a', 'b', 'c'])
    expect(await say(camera, refusal(nonce), camera)).toContain(`nonce="${nonce}"`);
  expect(await say(camera, refusal('d'), ffmpeg)).toContain('RTSP/1.0 401');
});

test.each([
  ['RTP/AVP/TCP;unicast;interleaved=1-0', '0-1'],
  ['RTP/AVP/TCP;unicast;interleaved=4-5', '4-5'],
  ['RTP/AVP/TCP;interleaved=2', '2-3'],
  ['RTP/AVP/TCP;unicast', '0-1'],
])(
  'with the answer %j FFmpeg gets the channels %s, and RTCP is read on each of them',
  async (transport, channels) => {
    const { ffmpeg, camera, say } = await joined();
    const setup = 'CSeq: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1';
    await say(ffmpeg, `SETUP rtsp://h/x/1 RTSP/1.0\r\n${setup}\r\n\r\n`, camera);
    const answer = `RTSP/1.0 200 OK\r\nTransport: ${transport}\r\n\r\n`;
    expect(await say(camera, answer, ffmpeg)).toContain(
      `Transport: RTP/AVP/TCP;unicast;interleaved=${channels}\r\n`,
    );
    // The start of a picture waits for the rest of it, on whichever channel; a report does not.
    const start = '$\x01\x00\x0e\x80\x60\x00\x01\x00\x00\x00\x00\x00\x00\x00\x07\x65\x01';
    const report = '$\x00\x00\x08\x80\xc8\x00\x01\x00\x00\x00\x07';
    expect(await say(camera, start + report, ffmpeg)).toBe(report);
  },
);

const SETUP =
  'SETUP rtsp://h/x/1 RTSP/1.0\r\nCSeq: 2\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n';

test('the sessions of a camera are ended, with the password, after FFmpeg or the stream has ended', async () => {
  for (const end of ['FFmpeg', 'the stream']) {
    const { proxy, ffmpeg, camera, say } = await joined('admin:p@');
    await say(ffmpeg, 'OPTIONS rtsp://h/x RTSP/1.0\r\nCSeq: 1\r\n\r\n', camera);
    const refusal = 'RTSP/1.0 401 Unauthorized\r\nCSeq: 1\r\nWWW-Authenticate: Basic realm="x"\r\n\r\n';
    await say(camera, refusal, camera);
    await say(camera, 'RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n', ffmpeg);
    await say(ffmpeg, SETUP, camera);
    await say(camera, 'RTSP/1.0 200 OK\r\nCSeq: 2\r\nSession: 7;timeout=60\r\n\r\n', ffmpeg);
    const last = once(camera, 'data');
    if (end === 'FFmpeg') ffmpeg.destroy();
    else proxy.close();
    expect(String((await last)[0])).toBe(
      `TEARDOWN rtsp://h/x RTSP/1.0\r\nAuthorization: Basic ${btoa('admin:p')}\r\nCSeq: 1000000\r\nSession: 7\r\n\r\n`,
    );
  }
});

test('the session of a recording is kept alive while the pipeline is full, and FFmpeg does not read', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  onTestFinished(() => void vi.useRealTimers());
  const { proxy, ffmpeg, camera, say } = await joined();
  await say(ffmpeg, SETUP, camera);
  await say(camera, 'RTSP/1.0 200 OK\r\nCSeq: 2\r\nSession: 7\r\n\r\n', ffmpeg);
  let asked = '';
  camera.on('data', (bytes) => {
    asked += bytes;
  });
  vi.advanceTimersByTime(20_000);
  ffmpeg.pause();
  const picture = Buffer.alloc(60_004);
  picture.set([0x24, 0, 60_000 >> 8, 60_000 & 255, 0x80, 0xe0]);
  let sequence = 0;
  const fill = () => {
    picture.writeUInt16BE(sequence++ & 0xffff, 6);
    camera.write(Buffer.from(picture));
    proxy.onPacket();
    vi.advanceTimersByTime(10_000);
    return asked;
  };
  await expect.poll(fill, { interval: 1, timeout: 10_000 }).toContain('GET_PARAMETER');
  expect(sequence).toBeGreaterThan(2);
  expect(asked).toMatch(/^GET_PARAMETER \S+ RTSP\/1.0\r\nCSeq: 1000000\r\nSession: 7\r\n\r\n/);
});

test.each(['12 ; timeout = 10', '\t12;\ttimeout=10'])(
  'the session header %j gets a timeout that FFmpeg can read',
  async (session) => {
    const { ffmpeg, camera, say } = await joined();
    await say(ffmpeg, SETUP, camera);
    const answer = `RTSP/1.0 200 OK\r\nSession:${session}\r\n\r\n`;
    expect(await say(camera, answer, ffmpeg)).toContain('\r\nSession: 12;timeout=10\r\n');
  },
);

// As a Reolink camera sends it (membraneframework/membrane_rtsp, pull request 54).
test('a picture that comes before the response to PLAY is passed on after it', async () => {
  const { ffmpeg, camera, say } = await joined();
  await say(ffmpeg, SETUP, camera);
  await say(camera, 'RTSP/1.0 200 OK\r\nCSeq: 2\r\n\r\n', ffmpeg);
  await say(ffmpeg, 'PLAY rtsp://h/x RTSP/1.0\r\nCSeq: 3\r\n\r\n', camera);
  const picture = (sequence: number) =>
    `$\x00\x00\x0e\x80\xe0\x00${String.fromCharCode(sequence)}\x00\x00\x00\x00\x00\x00\x00\x07\x65\x01`;
  const playing = 'RTSP/1.0 200 OK\r\nCSeq: 3\r\n\r\n';
  let came = '';
  ffmpeg.on('data', (bytes) => {
    came += bytes.toString('latin1');
  });
  camera.write(picture(1) + playing + picture(2), 'latin1');
  await expect.poll(() => came).toBe(playing + picture(1) + picture(2));
});

test('pictures flow after the response to PLAY, also where a second session has no response', async () => {
  const { ffmpeg, camera, say } = await joined();
  for (const session of ['7', '8']) {
    await say(ffmpeg, SETUP, camera);
    await say(camera, `RTSP/1.0 200 OK\r\nCSeq: 2\r\nSession: ${session}\r\n\r\n`, ffmpeg);
  }
  let asked = '';
  camera.on('data', (bytes) => {
    asked += bytes;
  });
  ffmpeg.write('PLAY rtsp://h/x RTSP/1.0\r\nCSeq: 3\r\nSession: 7\r\n\r\n');
  await expect.poll(() => asked.split('PLAY ')).toHaveLength(3);
  const answer = 'RTSP/1.0 200 OK\r\nCSeq: 3\r\n\r\n';
  const picture = '$\x00\x00\x0e\x80\xe0\x00\x01\x00\x00\x00\x00\x00\x00\x00\x07\x65\x01';
  let came = '';
  ffmpeg.on('data', (bytes) => {
    came += bytes.toString('latin1');
  });
  camera.write(answer + picture, 'latin1');
  await expect.poll(() => came).toBe(answer + picture);
});

test('a camera that rejects OPTIONS is read, unless it rejects the password', async () => {
  const { proxy, ffmpeg, camera, say } = await joined();
  const options = 'OPTIONS rtsp://h/x RTSP/1.0\r\nCSeq: 1\r\n\r\n';
  const answered = async (status: string) => {
    await say(ffmpeg, options, camera);
    return await say(camera, `RTSP/1.0 ${status}\r\nCSeq: 1\r\n\r\n`, ffmpeg);
  };
  expect(await answered('501 Not Implemented')).toMatch(/^RTSP\/1.0 200 .*\r\nCSeq: 1\r\n\r\n$/);
  expect(proxy.problem).toBeUndefined();
  expect(await answered('401 Unauthorized')).toMatch(/^RTSP\/1.0 401 /);
  expect(proxy.problem).toMatchObject({ permanent: true, message: expect.stringContaining('check user') });
});

/** A camera that sends packets of 60,000 bytes over UDP; `second` is their second byte. @returns what sends the next one */
async function largePackets(second: number) {
  const { proxy, ffmpeg, camera, say } = await joined('', '', { transport: 'udp' });
  const asked = await say(ffmpeg, SETUP, camera);
  const [, port] = /client_port=(\d+)/.exec(asked) ?? [];
  await say(camera, 'RTSP/1.0 200 OK\r\nTransport: RTP/AVP;unicast;client_port=1-2\r\n\r\n', ffmpeg);
  const sender = createSocket('udp4').bind(0, '127.0.0.1');
  onTestFinished(() => void sender.close());
  const packet = Buffer.alloc(60_000);
  packet.set([0x80, second]);
  let sequence = 0;
  const send = () => {
    packet.writeUInt16BE(sequence++ & 0xffff, 2);
    sender.send(packet, Number(port), '127.0.0.1');
    return proxy.problem?.message;
  };
  return { proxy, ffmpeg, send };
}

test('a camera that sends an endless picture over UDP is disconnected', async () => {
  const { ffmpeg, send } = await largePackets(0);
  ffmpeg.resume();
  await expect.poll(send, { interval: 1, timeout: 10_000 }).toBe('8192 KiB without a picture');
});

test('a camera whose pictures come over UDP while FFmpeg does not read stays connected', async () => {
  const { proxy, ffmpeg, send } = await largePackets(0x80);
  ffmpeg.pause();
  for (let sent = 0; sent < 400; sent += 1) {
    send();
    await delay(1);
  }
  expect(proxy.problem).toBeUndefined();
});

test('a camera that sends endless requests and reads no response is disconnected', async () => {
  const { proxy, ffmpeg, camera } = await joined();
  camera.pause();
  ffmpeg.resume();
  const requests = `OPTIONS * RTSP/1.0\r\nCSeq: ${'1'.repeat(30_000)}\r\n\r\n`.repeat(10);
  const problem = () => {
    camera.write(requests);
    // It sends pictures, too.
    proxy.onPacket();
    return proxy.problem?.message;
  };
  await expect.poll(problem, { interval: 1, timeout: 10_000 }).toContain('reads no answer');
});

test('a request before the SETUP of a multicast group is passed on unchanged', async () => {
  const { ffmpeg, camera, say } = await joined('', '', { transport: 'udp_multicast' });
  expect(await say(ffmpeg, DESCRIBE, camera)).toBe(DESCRIBE);
});

test.each([
  ['s1', 's2'],
  ['3', '4'],
])('a camera with a session for each track gets PLAY for all of them: %s, %s', async (...ids) => {
  const { ffmpeg, camera, say } = await joined();
  for (const track of [1, 2, 3]) {
    const transport = `Transport: RTP/AVP/TCP;unicast;interleaved=${2 * track - 2}-${2 * track - 1}`;
    await say(ffmpeg, `SETUP rtsp://h/x/${track} RTSP/1.0\r\nCSeq: ${track}\r\n${transport}\r\n\r\n`, camera);
    // The third belongs to the one before.
    const session = ids[track - 1] ? `Session: ${ids[track - 1]};timeout=60\r\n` : '';
    const answer = `RTSP/1.0 200 OK\r\nCSeq: ${track}\r\n${session}${transport}\r\n\r\n`;
    await say(camera, answer, ffmpeg);
  }
  const play = `PLAY rtsp://h/x RTSP/1.0\r\nCSeq: 3\r\nSession: ${ids[0]}\r\nRange: npt=0-\r\n\r\n`;
  ffmpeg.write(play);
  let asked = '';
  camera.on('data', (bytes) => {
    asked += bytes;
  });
  await expect.poll(() => asked).toBe(play + play.replace(`Session: ${ids[0]}`, `Session: ${ids[1]}`));
  const playing = `RTSP/1.0 200 OK\r\nCSeq: 3\r\nSession: ${ids[0]}\r\n\r\n`;
  const report = '$\x01\x00\x08\x80\xc8\x00\x01\x00\x00\x00\x07';
  camera.write(playing + playing.replace(`Session: ${ids[0]}`, `Session: ${ids[1]}`) + report, 'latin1');
  let came = '';
  ffmpeg.on('data', (bytes) => {
    came += bytes.toString('latin1');
  });
  await expect.poll(() => came).toBe(playing + report);
});

test.each([
  ['', 'a=range:clock=20261125T070000Z-20261125T071000.5Z\r\n'],
  ['#clock=20261125T070000Z-20261125T071000.5Z', ''],
])('the time range of a recording in %j or %j is played', async (part, line) => {
  const { proxy, ffmpeg, camera, say } = await joined('', part);
  await say(ffmpeg, DESCRIBE, camera);
  const body = (range: string) => `v=0\r\n${range}m=video 0 RTP/AVP 96\r\n`;
  const answer = (range: string) =>
    `RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: ${body(range).length}\r\n\r\n${body(range)}`;
  expect(await say(camera, answer(line), ffmpeg)).toBe(answer('a=range:npt=0-600.5\r\n'));
  const play = (range: string, more = '') =>
    `PLAY rtsp://h/x RTSP/1.0\r\n${more}CSeq: 2\r\nRange: ${range}\r\n\r\n`;
  const asked = play('clock=20261125T070000Z-20261125T071000.5Z', 'Require: onvif-replay\r\n');
  expect(await say(ffmpeg, play('npt=0.000-'), camera)).toBe(asked);
  // A recorder that is not ONVIF's.
  const refusal = 'RTSP/1.0 551 Option not supported\r\nCSeq: 2\r\n\r\n';
  expect(await say(camera, refusal, camera)).toBe(asked.replace('Require: onvif-replay\r\n', ''));
  expect(proxy).toMatchObject({ recordedAt: Date.UTC(2026, 10, 25, 7), hasEnd: true });
});

test('a REDIRECT of the camera ends the connection, and the error has the new URL', async () => {
  const { proxy, ffmpeg, camera, say } = await joined();
  const redirect = 'REDIRECT rtsp://h/x RTSP/1.0\r\nCSeq: 9\r\nLocation: rtsp://h2:8554/y\r\n\r\n';
  const ended = once(ffmpeg, 'close');
  expect(await say(camera, redirect, camera)).toBe('RTSP/1.0 200 OK\r\nCSeq: 9\r\n\r\n');
  ffmpeg.resume();
  await ended;
  expect(proxy.problem).toMatchObject({ location: 'rtsp://h2:8554/y', permanent: false });
});

test('the POST of an RTSP-over-HTTP tunnel is repeated when each nonce is good for one request', async () => {
  let nonce = 0;
  let down: ServerResponse | undefined;
  const camera = createHttpServer((request, response) => {
    const [, given] = /nonce="(\d+)"/.exec(request.headers.authorization ?? '') ?? [];
    nonce += 1;
    if (given !== String(nonce - 1)) {
      const challenge = `Digest realm="x", nonce="${nonce}", stale=true`;
      return void response.writeHead(401, { 'www-authenticate': challenge }).end();
    }
    if (request.method === 'POST')
      return void request.on('data', (text) => down?.write(Buffer.from(String(text), 'base64')));
    down = response.writeHead(200, { 'content-type': 'application/x-rtsp-tunnelled' });
    down.flushHeaders();
  }).listen(0, '127.0.0.1');
  await once(camera, 'listening');
  const { port } = camera.address() as AddressInfo;
  const authorization = authorizationOf(new URL('rtsp://admin:p@h/'));
  const gone = new AbortController();
  onTestFinished(() => {
    gone.abort();
    camera.closeAllConnections();
    camera.close();
  });
  const tunnel = await openTunnel({ host: '127.0.0.1', port, tls: false }, '/x', authorization, gone.signal);
  tunnel.on('error', () => {}).write(DESCRIBE);
  const [echo] = await once(tunnel, 'data');
  expect(String(echo)).toBe(DESCRIBE);
});

const PAGE =
  'POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: https://evil.example\r\nContent-Length: 2\r\n\r\n{}';

test('other clients of the RTSP proxy do not reach the camera, and do not disturb FFmpeg', async () => {
  const camera = await startCamera();
  const proxy = await RtspProxy.open(new URL(`rtsp://admin:secret@${camera.place}/x`));
  onTestFinished(() => proxy.close());
  const ffmpeg = connect(Number(new URL(proxy.address).port), '127.0.0.1');
  onTestFinished(() => void ffmpeg.destroy());
  await once(ffmpeg, 'connect');
  await expect.poll(() => camera.clients.length).toBe(1);
  const describe = `DESCRIBE ${proxy.address} RTSP/1.0\r\nCSeq: 1\r\n\r\n`;
  for (const text of [PAGE, describe]) expect(await say(proxy.address, text)).toBe('');
  expect(camera.clients).toHaveLength(1);
  expect(proxy.problem).toBeUndefined();
  ffmpeg.write(describe);
  const [asked] = await once(camera.clients[0] as Socket, 'data');
  expect(String(asked)).toContain(`DESCRIBE rtsp://${camera.place}/x RTSP/1.0`);
});

test('a password for TLS is not sent to a port of the host without TLS', async () => {
  const { calls, url, close } = await startFakeServer(() => ({
    status: 401,
    headers: { 'www-authenticate': 'Basic realm="x"' },
  }));
  onTestFinished(() => void close());
  for (const [scheme, asked] of [
    ['https', 1],
    ['http', 2],
  ] as const) {
    calls.length = 0;
    const own = new URL(`${scheme}://admin:secret@127.0.0.1:1/list.m3u8`);
    const proxy = await HttpProxy.open(own, { hosts: ['127.0.0.1'] });
    onTestFinished(() => proxy.close());
    await say(proxy.proxyUrl, `GET ${url}/a.ts HTTP/1.0\r\nHost: ${url.slice(7)}\r\n\r\n`);
    expect(calls.map(({ headers }) => headers.authorization)).toEqual(
      [undefined, `Basic ${btoa('admin:secret')}`].slice(0, asked),
    );
  }
});

test.each(['GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n', PAGE, '\x16\x03\x01\r\n\r\n'])(
  'a request that is not for a proxy is closed, and is no error of the camera: %j',
  async (text) => {
    const camera = await startCamera();
    const proxy = await HttpProxy.open(new URL(`http://${camera.place}/x`));
    onTestFinished(() => proxy.close());
    expect(await say(proxy.proxyUrl, text)).toBe('');
    expect(camera.clients).toHaveLength(0);
    expect(proxy.problem).toBeUndefined();
  },
);

// As Nimble Streamer writes it (video-dev/hls.js, issue 4309): FFmpeg would wait for segment 1420.
test('a list that counts its segments from the start again ends the source, for an early retry', async () => {
  const numbers = [1418, 1419, 1418, 2];
  const { url, close } = await startFakeServer(() => ({
    body: `#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:${numbers.shift()}\n#EXTINF:1,\na.ts\n`,
  }));
  const proxy = await HttpProxy.open(new URL(`${url}/list.m3u8`));
  onTestFinished(() => {
    proxy.close();
    void close();
  });
  const ask = () => say(proxy.proxyUrl, `GET ${url}/list.m3u8 HTTP/1.0\r\nHost: ${url.slice(7)}\r\n\r\n`);
  for (const number of [1418, 1419, 1418]) expect(await ask()).toContain(`SEQUENCE:${number}\n`);
  expect(proxy.problem).toBeUndefined();
  expect(await ask()).not.toContain('SEQUENCE');
  expect(proxy.problem).toMatchObject({ message: 'its list begins anew', permanent: false });
});

test('a snapshot is requested again, with any ETag of the camera', async () => {
  const jpeg = Buffer.from('ffd8ffd9', 'hex').toString('latin1');
  const camera = await startCamera();
  const proxy = await HttpProxy.open(new URL(`http://${camera.place}/x`), { period: 0.05 });
  onTestFinished(() => proxy.close());
  const ffmpeg = connect(Number(new URL(proxy.proxyUrl).port), '127.0.0.1').on('error', () => {});
  onTestFinished(() => void ffmpeg.destroy());
  ffmpeg.write(`GET http://${camera.place}/x HTTP/1.0\r\nHost: ${camera.place}\r\n\r\n`);
  const head = 'HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nETag: "a\x01b"\r\nContent-Length: 4\r\n\r\n';
  for (const client of [0, 1]) {
    await expect.poll(() => camera.clients.length, { interval: 5 }).toBeGreaterThan(client);
    camera.clients[client]?.write(head + jpeg, 'latin1');
  }
  const [again] = await once(camera.clients[1] as Socket, 'data');
  expect(String(again)).toContain('if-none-match: "ab"');
  expect(proxy.problem).toBeUndefined();
});

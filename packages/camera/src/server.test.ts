import { createHash } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { evenTimes, makeVideo, videoFolder } from '../../../test/support/video.ts';
import type { PacketSink } from './channel.ts';
import { type CameraOptions, type Cameras, serveRtsp, startCameras } from './server.ts';

const folder = await videoFolder();
let clip: string;
const cameras: Cameras[] = [];
const sockets: Socket[] = [];

beforeAll(async () => {
  // Half a second, so that rounds of the loop pass quickly.
  clip = await makeVideo(folder.path('clip.mp4'), { times: evenTimes(13, 26), bFrames: 2, gop: 5 });
});
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const camera of cameras.splice(0)) await camera.close();
});
afterAll(() => folder.remove());

async function start(options: Partial<CameraOptions> = {}): Promise<string> {
  const camera = await startCameras({ clips: { yard: clip }, ...options });
  cameras.push(camera);
  return camera.url;
}

/** A client that speaks RTSP by hand. */
async function client(url: string) {
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  sockets.push(socket);
  await once(socket, 'connect');
  let received = Buffer.alloc(0);
  socket.on('data', (bytes) => {
    received = Buffer.concat([received, bytes]);
  });
  let sequence = 0;
  return {
    socket,
    received: () => received,
    async request(method: string, target: string, headers: Record<string, string> = {}) {
      sequence += 1;
      received = Buffer.alloc(0);
      const lines = Object.entries({ CSeq: String(sequence), ...headers }).map(
        ([name, value]) => `${name}: ${value}\r\n`,
      );
      socket.write(`${method} ${target} RTSP/1.0\r\n${lines.join('')}\r\n`);
      // While it plays, packets may come before the answer.
      const answer = () => received.subarray(received.indexOf('RTSP/1.0 '));
      await expect.poll(() => answer().includes('\r\n\r\n'), { interval: 2 }).toBe(true);
      const text = answer().toString('latin1');
      const header = (name: string) => new RegExp(`^${name}: (.*)\r$`, 'im').exec(text)?.[1];
      return { status: Number(text.slice(9, 12)), text, header };
    },
  };
}

type Client = Awaited<ReturnType<typeof client>>;

async function play(one: Client, url: string, transport = 'RTP/AVP/TCP;unicast;interleaved=0-1') {
  const setup = await one.request('SETUP', `${url}/yard/trackID=0`, { Transport: transport });
  const Session = setup.header('Session')?.split(';')[0] ?? '';
  const started = await one.request('PLAY', `${url}/yard`, { Session });
  return { setup, started, Session };
}

interface Packet {
  channel: number;
  marker: boolean;
  sequence: number;
  timestamp: number;
  nalType: number;
}

/** Interleaved packets after the answer to PLAY. */
function interleaved(bytes: Buffer): Packet[] {
  const packets: Packet[] = [];
  let at = bytes.indexOf('\r\n\r\n') + 4;
  while (at + 4 <= bytes.length && at + 4 + bytes.readUInt16BE(at + 2) <= bytes.length) {
    const packet = bytes.subarray(at + 4);
    packets.push({
      channel: bytes.readUInt8(at + 1),
      marker: packet.readUInt8(1) >= 0x80,
      sequence: packet.readUInt16BE(2),
      timestamp: packet.readUInt32BE(4),
      nalType: packet.readUInt8(12) & 31,
    });
    at += 4 + bytes.readUInt16BE(at + 2);
  }
  return packets;
}

test('DESCRIBE returns the session description that a player needs', async () => {
  const url = await start();
  const one = await client(url);
  expect((await one.request('OPTIONS', `${url}/yard`)).header('Public')).toContain('DESCRIBE');
  const { status, text, header } = await one.request('DESCRIBE', `${url}/yard`);
  expect([status, header('Content-Type'), header('Content-Base')]).toEqual([
    200,
    'application/sdp',
    `${url}/yard/`,
  ]);
  expect(text).toMatch(
    /a=fmtp:96 packetization-mode=1;profile-level-id=[0-9a-f]{6};sprop-parameter-sets=Z[^,]+,a[^,]+\r\n/,
  );
  expect(text).toContain('a=rtpmap:96 H264/90000');
  expect(text).toContain('a=framerate:26');
});

test('a stream begins with a sender report, parameter sets and a key frame, and continues across loops', async () => {
  const url = await start();
  const one = await client(url);
  const began = performance.now();
  const { started } = await play(one, url);
  await delay(1300);
  const packets = interleaved(one.received());
  const seconds = (performance.now() - began) / 1000;
  expect(packets[0]?.channel).toBe(1);
  const rtp = packets.filter(({ channel }) => channel === 0);
  expect(rtp.slice(0, 2).map(({ nalType }) => nalType)).toEqual([7, 8]);
  rtp.forEach(({ sequence }, index) => {
    expect(sequence).toBe(((rtp[0]?.sequence ?? 0) + index) % 65_536);
  });
  const pictures = rtp.filter(({ marker }) => marker);
  expect(pictures.length).toBeGreaterThan(28);
  expect(pictures.length).toBeLessThan(26 * seconds + 2);
  // Every picture has its own time, a 26th of a second after another, over two ends of the clip.
  const first = Number(/rtptime=(\d+)/.exec(started.text)?.[1]);
  const times = pictures
    .slice(0, 28)
    .map(({ timestamp }) => Math.round((((timestamp - first) >>> 0) * 26) / 90_000));
  expect(new Set(times).size).toBe(28);
  expect(Math.max(...times)).toBeLessThan(31);
});

test('packets over UDP go to the ports that the client names', async () => {
  const url = await start();
  const receiver = createSocket('udp4').bind(0, '127.0.0.1');
  await once(receiver, 'listening');
  let packets = 0;
  receiver.on('message', () => {
    packets += 1;
  });
  const { port } = receiver.address();
  const one = await client(url);
  const { setup } = await play(one, url, `RTP/AVP;unicast;client_port=${port}-${port + 1}`);
  expect(setup.header('Transport')).toMatch(/server_port=\d+-\d+/);
  await expect.poll(() => packets).toBeGreaterThan(5);
  receiver.close();
});

test.each(['GET / HTTP/1.1\r\n\r\n', '\x00\x01\x02\r\n\r\n', 'x'.repeat(20_000)])(
  '%#: malformed bytes get 400 and a closed connection, and other clients continue',
  async (nonsense) => {
    const url = await start();
    const good = await client(url);
    await play(good, url);
    const bad = await client(url);
    bad.socket.write(nonsense);
    await once(bad.socket, 'close');
    expect(bad.received().toString()).toMatch(/^RTSP\/1.0 400 /);
    const before = good.received().length;
    await expect.poll(() => good.received().length).toBeGreaterThan(before);
  },
);

test('invalid requests get 404, 454 and other error statuses', async () => {
  const url = await start();
  const one = await client(url);
  expect((await one.request('DESCRIBE', `${url}/nothing`)).status).toBe(404);
  expect((await one.request('PLAY', `${url}/yard`, { Session: 'no' })).status).toBe(454);
  expect((await one.request('SETUP', `${url}/yard`, { Transport: 'RTP/AVP;multicast' })).status).toBe(461);
  expect((await one.request('RECORD', `${url}/yard`)).status).toBe(501);
  expect((await one.request('PAUSE', `${url}/yard`)).status).toBe(455);
});

test('TEARDOWN stops the packets, and the same connection can play again', async () => {
  const url = await start();
  const one = await client(url);
  const { Session } = await play(one, url);
  expect((await one.request('GET_PARAMETER', `${url}/yard`, { Session })).status).toBe(200);
  await one.request('TEARDOWN', `${url}/yard`, { Session });
  const before = one.received().length;
  await delay(100);
  expect(one.received().length).toBe(before);
  expect((await play(one, url)).started.status).toBe(200);
});

test('a silent client is disconnected', async () => {
  const url = await start({ sessionTimeoutSeconds: 0.2 });
  const one = await client(url);
  await play(one, url);
  // Else it would play on.
  await once(one.socket, 'close');
});

const md5 = (text: string) => createHash('md5').update(text).digest('hex');

test('a client that sends requests without reading answers is disconnected', async () => {
  const { socket } = await client(await start());
  socket.pause();
  const asked = Buffer.from('OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n'.repeat(10_000));
  const gone = once(socket, 'close').catch(() => {});
  let isGone = false;
  void gone.then(() => {
    isGone = true;
  });
  socket.on('error', () => {});
  for (let sent = 0; sent < 60 && !isGone; sent++) {
    socket.write(asked);
    await delay(10);
  }
  await expect.poll(() => isGone).toBe(true);
});

test('with a user set, Basic and Digest are offered, and a wrong password is rejected', async () => {
  const url = await start({ user: 'admin:p@ss:word' });
  const one = await client(url);
  const target = `${url}/yard`;
  const refused = await one.request('DESCRIBE', target);
  expect([refused.status, /Basic realm/.test(refused.text), /Digest realm/.test(refused.text)]).toEqual([
    401,
    true,
    true,
  ]);
  const basic = (user: string) => ({ Authorization: `Basic ${Buffer.from(user).toString('base64')}` });
  expect((await one.request('DESCRIBE', target, basic('admin:p@ss:word'))).status).toBe(200);
  expect((await one.request('DESCRIBE', target, basic('admin:wrong'))).status).toBe(401);
  const nonce = /nonce="([^"]+)"/.exec(refused.text)?.[1];
  const digest = (password: string) => {
    const response = md5(`${md5(`admin:camera:${password}`)}:${nonce}:${md5(`DESCRIBE:${target}`)}`);
    const fields = { username: 'admin', realm: 'camera', nonce, uri: target, response };
    return {
      Authorization: `Digest ${Object.entries(fields)
        .map(([name, value]) => `${name}="${value}"`)
        .join(', ')}`,
    };
  };
  expect((await one.request('DESCRIBE', target, digest('p@ss:word'))).status).toBe(200);
  expect((await one.request('DESCRIBE', target, digest('wrong'))).status).toBe(401);
});

test('a file that is not H.264 video is rejected with its name', async () => {
  const path = await makeVideo(folder.path('mjpeg.mp4'), { codec: 'mjpeg', times: evenTimes(3, 25) });
  await expect(startCameras({ clips: { yard: path } })).rejects.toThrow(/mjpeg\.mp4' has no H\.264 video/);
  await expect(startCameras({ clips: { yard: '/nowhere.mp4' } })).rejects.toThrow(/can't open video file/);
});

test('no picture is sent after the server is closed', async () => {
  let outlet: PacketSink | undefined;
  const stop = vi.fn();
  const play = (to: PacketSink) => {
    outlet = to;
    return { start() {}, stop };
  };
  const server = await serveRtsp(new Map([['yard', { describe: () => '', play }]]), {});
  const one = await client(server.url);
  const transport = 'RTP/AVP;unicast;client_port=40000-40001';
  await one.request('SETUP', `${server.url}/yard/trackID=0`, { Transport: transport });
  const closed = server.close();
  expect(() => outlet?.sendRtp([Buffer.of(0)])).not.toThrow();
  await closed;
  expect(stop).toHaveBeenCalledOnce();
});

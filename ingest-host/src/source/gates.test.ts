import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { expect, onTestFinished, test, vi } from 'vitest';
import { HttpGate } from './http-gate.ts';
import { UdpTrack } from './rtp-udp.ts';
import { RtspGate } from './rtsp-gate.ts';

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

test('packets of a group come over the connection, from the camera alone', async () => {
  const camera = await startCamera();
  const gate = await RtspGate.open(new URL(`rtsp://${camera.place}/x`), { transport: 'udp_multicast' });
  onTestFinished(() => gate.close());
  const ffmpeg = connect(Number(new URL(gate.address).port), '127.0.0.1');
  onTestFinished(() => void ffmpeg.destroy());
  let received = Buffer.alloc(0);
  ffmpeg.on('data', (bytes) => {
    received = Buffer.concat([received, bytes]);
  });
  const setup = 'CSeq: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1';
  ffmpeg.write(`SETUP ${gate.address}/1 RTSP/1.0\r\n${setup}\r\n\r\n`);
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

test('a track over UDP that opens while the gate closes is closed, too', async () => {
  const ports = () => process.getActiveResourcesInfo().filter((kind) => kind === 'UDPWrap').length;
  // Those of the tests before this one.
  await expect.poll(ports).toBe(0);
  const camera = await startCamera();
  const gate = await RtspGate.open(new URL(`rtsp://${camera.place}/x`), { transport: 'udp' });
  const open = UdpTrack.open;
  let most = 0;
  const opened = vi.spyOn(UdpTrack, 'open').mockImplementationOnce(async (address) => {
    const track = await open(address);
    most = ports();
    gate.close();
    return track;
  });
  onTestFinished(() => opened.mockRestore());
  const setup = 'CSeq: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1';
  await say(gate.address, `SETUP ${gate.address}/1 RTSP/1.0\r\n${setup}\r\n\r\n`);
  expect(most).toBe(2);
  await expect.poll(ports).toBe(0);
  gate.close();
});

test.each(['destination=10.0.0.9;port=5000-5001', 'destination=239.1.1.1', 'unicast'])(
  'a group that is none is refused: %s',
  async (answer) => {
    await expect(UdpTrack.join('127.0.0.1', `RTP/AVP;multicast;${answer}`, '127.0.0.1')).rejects.toThrow(
      'names no group',
    );
  },
);

const PAGE =
  'POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: https://evil.example\r\nContent-Length: 2\r\n\r\n{}';

test('what else comes to the door of an RTSP camera gets neither to it nor in the way', async () => {
  const camera = await startCamera();
  const gate = await RtspGate.open(new URL(`rtsp://admin:secret@${camera.place}/x`));
  onTestFinished(() => gate.close());
  const ffmpeg = connect(Number(new URL(gate.address).port), '127.0.0.1');
  onTestFinished(() => void ffmpeg.destroy());
  await once(ffmpeg, 'connect');
  await expect.poll(() => camera.clients.length).toBe(1);
  const describe = `DESCRIBE ${gate.address} RTSP/1.0\r\nCSeq: 1\r\n\r\n`;
  for (const text of [PAGE, describe]) expect(await say(gate.address, text)).toBe('');
  expect(camera.clients).toHaveLength(1);
  expect(gate.problem).toBeUndefined();
  ffmpeg.write(describe);
  const [asked] = await once(camera.clients[0] as Socket, 'data');
  expect(String(asked)).toContain(`DESCRIBE rtsp://${camera.place}/x RTSP/1.0`);
});

test.each(['GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n', PAGE, '\x16\x03\x01\r\n\r\n'])(
  'what is no request to a proxy is no fault of the camera: %j',
  async (text) => {
    const camera = await startCamera();
    const gate = await HttpGate.open(new URL(`http://${camera.place}/x`));
    onTestFinished(() => gate.close());
    expect(await say(gate.proxy, text)).toBe('');
    expect(camera.clients).toHaveLength(0);
    expect(gate.problem).toBeUndefined();
  },
);

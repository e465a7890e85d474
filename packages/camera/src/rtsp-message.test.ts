import type { Socket } from 'node:net';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MalformedMessageError, type Message, parseRequest, RtspSplitter } from './rtsp-message.ts';
import { acceptTransport, type UdpPair } from './session.ts';

const packet = (size: number) =>
  Buffer.concat([Buffer.from([0x24, 0, size >> 8, size & 255]), Buffer.alloc(size, 0x52)]);
const whole = Buffer.concat([
  Buffer.from('RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: 4\r\n\r\nv=0\n'),
  packet(3000),
  packet(0),
  Buffer.from('RTSP/1.0 200 OK\r\nCSeq: 2\r\n\r\n'),
  packet(12),
]);

test('messages and interleaved packets are separated, for any cut of the bytes', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 900 })), (sizes) => {
      const messages: Message[] = [];
      const packets: Buffer[] = [];
      const splitter = new RtspSplitter(
        (bytes) => packets.push(Buffer.from(bytes)),
        (message) => messages.push(message),
      );
      let at = 0;
      for (const size of [...sizes, whole.length]) {
        splitter.push(whole.subarray(at, at + size));
        at += size;
        if (at >= whole.length) break;
      }
      expect(messages).toEqual([
        { head: 'RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: 4', body: 'v=0\n' },
        { head: 'RTSP/1.0 200 OK\r\nCSeq: 2', body: '' },
      ]);
      expect(Buffer.concat(packets)).toEqual(Buffer.concat([packet(3000), packet(0), packet(12)]));
    }),
  );
});

test.each(['Content-Length:\t4', 'content-length : 4'])('%j gives the length of the body', (header) => {
  const bodies: string[] = [];
  const splitter = new RtspSplitter(
    () => {},
    ({ body }) => bodies.push(body),
  );
  splitter.push(Buffer.from(`RTSP/1.0 200 OK\r\n${header}\r\n\r\nv=0\nRTSP/1.0 200 OK\r\n\r\n`));
  expect(bodies).toEqual(['v=0\n', '']);
});

/** What a splitter makes of `bytes`, given at once or byte by byte. */
function split(bytes: Buffer, size = bytes.length) {
  const heads: string[] = [];
  const packets: string[] = [];
  const splitter = new RtspSplitter(
    (framed) => packets.push(framed.toString('latin1')),
    ({ head }) => heads.push(head),
  );
  for (let at = 0; at < bytes.length; at += size) splitter.push(bytes.subarray(at, at + size));
  return { heads, packets };
}

test('lines without CR, blanks before colons and empty lines between messages are accepted', () => {
  const message = 'RTSP/1.0 200 OK\nCSeq : 1\nSession:\t7\n\n';
  const bytes = Buffer.from(`\r\n${message}\r\n\r\n${message.replaceAll('\n', '\r\n')}\n`);
  const head = 'RTSP/1.0 200 OK\r\nCSeq: 1\r\nSession: 7';
  for (const size of [1, 7, bytes.length]) expect(split(bytes, size).heads).toEqual([head, head]);
});

test('incomplete packets are skipped, and the messages after them are read', () => {
  const rtp = (size: number) => {
    const one = packet(size);
    one[4] = 0x80;
    return one;
  };
  const text = (one: Buffer) => one.toString('latin1');
  const answer = 'RTSP/1.0 200 OK\r\n\r\n';
  // As a Canon camera sends between whole packets (bluenviron/gortsplib, pull request 653).
  const junk = Buffer.from('abc$\0\0$\r\n$def$Z\0\x08');
  const between = Buffer.concat([rtp(100), junk, rtp(200), junk, rtp(300), Buffer.from(answer)]);
  for (const size of [1, 50, between.length])
    expect(split(between, size)).toEqual({
      heads: ['RTSP/1.0 200 OK'],
      packets: [rtp(100), rtp(200), rtp(300)].map(text),
    });
  // As old versions of live555 cut packets off (scottlamb/retina, issue 17): what is not whole is left out.
  const cut = Buffer.concat([rtp(100), rtp(900).subarray(0, 700), rtp(1200), rtp(300), Buffer.from(answer)]);
  expect(split(cut)).toEqual({
    heads: ['RTSP/1.0 200 OK'],
    packets: [rtp(100), rtp(1200), rtp(300)].map(text),
  });
});

test('bytes that may begin a packet, without end, take time by their number, and what follows is read', () => {
  const one = packet(8);
  one[4] = 0x80;
  const packets: number[] = [];
  const splitter = new RtspSplitter(
    (framed) => packets.push(framed.length),
    () => {},
  );
  splitter.push(Buffer.concat([one, Buffer.from('x')]));
  const { user } = process.cpuUsage();
  for (let times = 0; times < 512; times += 1) splitter.push(Buffer.alloc(4_096, '$'));
  // To look at all that came before again, with each chunk, takes a hundred times as long.
  expect(process.cpuUsage().user - user).toBeLessThan(2_000_000);
  splitter.push(Buffer.concat([Buffer.from('....'), one]));
  expect(packets).toEqual([12, 12]);
});

test.each([
  ['a head', 'X: y\r\n'.repeat(10_000)],
  ['a body', 'RTSP/1.0 200 OK\r\nContent-Length: 2147483000\r\n\r\n'],
  ['a body of -5 bytes', 'RTSP/1.0 200 OK\r\nContent-Length: -5\r\n\r\n'],
  ['a body of 1.5 bytes', 'RTSP/1.0 200 OK\r\nContent-Length: 1.5\r\n\r\nv='],
])('%s of unlimited or invalid length is rejected', (_name, text) => {
  const splitter = new RtspSplitter(
    () => {},
    () => {},
  );
  expect(() => splitter.push(Buffer.from(text))).toThrow(MalformedMessageError);
});

test.each(['', 'GET / HTTP/1.1', 'PLAY', 'PLAY rtsp://h/x RTSP/1.0\r\nno colon'])(
  'parseRequest rejects %j as malformed',
  (text) => {
    expect(() => parseRequest(text)).toThrow(MalformedMessageError);
  },
);

test('a server can set its own limits of head and body', () => {
  const splitter = new RtspSplitter(
    () => {},
    () => {},
    { head: 8192, body: 0 },
  );
  expect(() => splitter.push(Buffer.from('x'.repeat(9000)))).toThrow(MalformedMessageError);
});

const TCP = 'RTP/AVP/TCP;unicast;interleaved=';
const UDP = 'RTP/AVP;unicast;client_port=5000-5001;server_port=7000-7001';
test.each([
  ['RTP/AVP/TCP;unicast;interleaved=2-3', `${TCP}2-3`],
  ['RTP/AVP/TCP;unicast', `${TCP}0-1`],
  ['RTP/AVP;unicast;client_port=5000-5001', UDP],
  ['RTP/AVP;multicast, RTP/AVP/UDP;unicast;client_port=5000', UDP],
  ['RTP/AVP;unicast', undefined],
  ['RTP/AVP/TCP;interleaved=300-301', undefined],
  ['', undefined],
])('the answer to the transport %j', (header, accepted) => {
  const at = (port: number) => ({ address: () => ({ port }) });
  const udp = { rtp: at(7000), rtcp: at(7001) } as unknown as UdpPair;
  expect(acceptTransport(header, {} as Socket, udp)?.accepted).toBe(accepted);
});

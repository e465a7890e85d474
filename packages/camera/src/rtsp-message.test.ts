import { expect, test } from 'vitest';
import { chooseTransport, MalformedRequestError, parseRequest, RequestReader } from './rtsp-message.ts';

const REQUEST = 'OPTIONS rtsp://h/yard RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 3\r\n\r\nabc';

test('requests come out whole however the bytes are cut, and interleaved packets are skipped', () => {
  const stream = Buffer.from(`${REQUEST}$\x01\x00\x04RTCP${REQUEST}`, 'latin1');
  for (let size = 1; size <= stream.length; size += 1) {
    const reader = new RequestReader();
    const methods: string[] = [];
    for (let at = 0; at < stream.length; at += size) {
      methods.push(...reader.push(stream.subarray(at, at + size)).map(({ method }) => method));
    }
    expect(methods).toEqual(['OPTIONS', 'OPTIONS']);
  }
});

test.each(['', 'GET / HTTP/1.1', 'PLAY', 'PLAY rtsp://h/x RTSP/1.0\r\nno colon'])(
  '%j is malformed',
  (text) => {
    expect(() => parseRequest(text)).toThrow(MalformedRequestError);
  },
);

test.each([
  'x'.repeat(9000),
  'PLAY rtsp://h/x RTSP/1.0\r\nContent-Length: 99999999\r\n\r\n',
  'PLAY rtsp://h/x RTSP/1.0\r\nContent-Length: -1\r\n\r\n',
])('too much, or nonsense, is refused', (text) => {
  expect(() => new RequestReader().push(Buffer.from(text))).toThrow(MalformedRequestError);
});

test.each([
  ['RTP/AVP/TCP;unicast;interleaved=2-3', { kind: 'tcp', channels: [2, 3] }],
  ['RTP/AVP/TCP;unicast', { kind: 'tcp', channels: [0, 1] }],
  ['RTP/AVP;unicast;client_port=5000-5001', { kind: 'udp', ports: [5000, 5001] }],
  ['RTP/AVP;multicast, RTP/AVP/UDP;unicast;client_port=5000', { kind: 'udp', ports: [5000, 5001] }],
  ['RTP/AVP;unicast', undefined],
  ['RTP/AVP/TCP;interleaved=300-301', undefined],
  ['', undefined],
])('transport %j', (header, transport) => {
  expect(chooseTransport(header, 0)).toEqual(transport);
});

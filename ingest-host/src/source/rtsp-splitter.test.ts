import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Message, RtspSplitter } from './rtsp-splitter.ts';

const packet = (size: number) =>
  Buffer.concat([Buffer.from([0x24, 0, size >> 8, size & 255]), Buffer.alloc(size, 0x52)]);
const whole = Buffer.concat([
  Buffer.from('RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: 4\r\n\r\nv=0\n'),
  packet(3000),
  packet(0),
  Buffer.from('RTSP/1.0 200 OK\r\nCSeq: 2\r\n\r\n'),
  packet(12),
]);

test('messages and packets are told apart, wherever the bytes are cut', () => {
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

test.each([
  ['a head', 'X: y\r\n'.repeat(10_000)],
  ['a body', 'RTSP/1.0 200 OK\r\nContent-Length: 2147483000\r\n\r\n'],
  ['a negative body', 'RTSP/1.0 200 OK\r\nContent-Length: -5\r\n\r\n'],
])('%s without bounds is refused', (_name, text) => {
  const splitter = new RtspSplitter(
    () => {},
    () => {},
  );
  expect(() => splitter.push(Buffer.from(text))).toThrow(/open: /);
});

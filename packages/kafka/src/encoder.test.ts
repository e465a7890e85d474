import Encoder from 'kafkajs/src/protocol/encoder.js';
import { expect, test } from 'vitest';
import './connect.ts';

const large = Buffer.from(Array.from({ length: 10_000 }, (_, index) => index % 251));
const int32 = (value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
};

test('large and small values, also of nested encoders, are written in order', () => {
  const inner = new Encoder().writeInt32(1).writeBytes(large).writeInt32(2);
  const outer = new Encoder().writeInt32(3).writeEncoder(inner).writeBytes('text').writeBytes(null);
  outer.writeEncoderArray([new Encoder().writeInt32(4), inner]).writeBytes(Buffer.from('small'));
  const innerBytes = Buffer.concat([int32(1), int32(large.length), large, int32(2)]);
  const head = [int32(3), innerBytes, int32(4), Buffer.from('text'), int32(-1)];
  const expected = Buffer.concat([...head, int32(4), innerBytes, int32(5), Buffer.from('small')]);
  expect(outer.size()).toBe(expected.length);
  expect(outer.buffer.equals(expected)).toBe(true);
  expect(inner.buffer.equals(innerBytes)).toBe(true);
});

test('values written after a read of the buffer are appended', () => {
  const encoder = new Encoder().writeBytes(large);
  expect(encoder.buffer).toHaveLength(large.length + 4);
  encoder.writeInt32(7).writeVarIntString('é');
  expect(encoder.size()).toBe(large.length + 4 + 4 + 3);
  expect(
    encoder.buffer.subarray(large.length + 4).equals(Buffer.concat([int32(7), Buffer.from('\x04é')])),
  ).toBe(true);
});

test('a large value is not copied before the buffer is read', () => {
  const encoder = new Encoder().writeEncoder(new Encoder().writeVarIntBytes(large));
  expect(encoder.chunks).toContain(large);
});

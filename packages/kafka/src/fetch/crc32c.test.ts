import fc from 'fast-check';
import kafkajs from 'kafkajs/src/protocol/recordBatch/crc32C/index.js';
import { expect, test } from 'vitest';
import { crc32c } from './crc32c.ts';

test("the checksum equals RFC 3720's examples, and kafkajs's for bytes of any length and alignment", () => {
  expect(crc32c(Buffer.alloc(32))).toBe(0x8a9136aa);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), fc.nat({ max: 9 }), (bytes, from) => {
      const part = Buffer.from(bytes).subarray(from);
      expect(crc32c(part)).toBe(kafkajs(part));
    }),
  );
});

import crc32C from 'kafkajs/src/protocol/recordBatch/crc32C/index.js';

/** CRC-32C (Castagnoli), unsigned; Node's zlib has the other one. */
export function crc32c(bytes: Buffer): number {
  return crc32C(bytes) >>> 0;
}

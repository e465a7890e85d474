import crc32C from 'kafkajs/src/protocol/recordBatch/crc32C/index.js';

/** CRC-32C (Castagnoli), unsigned. Node's zlib has only the CRC-32 with another polynomial. */
export function crc32c(bytes: Buffer): number {
  return crc32C(bytes) >>> 0;
}

/** Polynomial of CRC-32C, its bits in reverse order. */
const POLYNOMIAL = 0x82f63b78;
/** Checksum of each byte with no zero bytes after it, then with one, up to seven: 256 values each. */
const TABLE = new Int32Array(8 * 256);
for (let byte = 0; byte < 256; byte++) {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? POLYNOMIAL : 0);
  TABLE[byte] = crc;
}
for (let at = 256; at < TABLE.length; at++) {
  const before = TABLE[at - 256] as number;
  TABLE[at] = (before >>> 8) ^ of(0, before);
}

function of(zeros: number, bits: number): number {
  return TABLE[(zeros << 8) | (bits & 255)] as number;
}

/**
 * CRC-32C (Castagnoli), unsigned. Node's zlib has only the CRC-32 with another polynomial. This function takes eight
 * bytes at a time. kafkajs' own takes one, and three times as long: 0.1 ms more for a 720p JPEG.
 */
export function crc32c(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let crc = -1;
  let at = 0;
  for (; at + 8 <= bytes.length; at += 8) {
    const [low, high] = [crc ^ view.getInt32(at, true), view.getInt32(at + 4, true)];
    crc = of(7, low) ^ of(6, low >>> 8) ^ of(5, low >>> 16) ^ of(4, low >>> 24);
    crc ^= of(3, high) ^ of(2, high >>> 8) ^ of(1, high >>> 16) ^ of(0, high >>> 24);
  }
  for (; at < bytes.length; at++) crc = (crc >>> 8) ^ of(0, crc ^ view.getUint8(at));
  return ~crc >>> 0;
}

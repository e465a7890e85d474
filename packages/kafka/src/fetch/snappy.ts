import type { Output } from './output.ts';

/** Header of Java clients before blocks of 32 KiB (xerial's snappy-java). librdkafka writes one block without it. */
const XERIAL = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0]);
/** Magic, version and compatible version. */
const XERIAL_HEADER_BYTES = XERIAL.length + 8;

/**
 * Snappy, as Kafka's clients write it: one raw block, or xerial's stream of blocks. The well-maintained packages for
 * Snappy can't stop at a limit, or bring native code.
 * @see https://github.com/google/snappy/blob/main/format_description.txt
 * @throws RangeError for what is not Snappy
 */
export function inflateSnappy(bytes: Buffer, output: Output): void {
  if (!bytes.subarray(0, XERIAL.length).equals(XERIAL)) {
    inflateBlock(bytes, output);
    return;
  }
  for (let at = XERIAL_HEADER_BYTES; at < bytes.length && !output.isCut; ) {
    const length = bytes.readInt32BE(at);
    if (length < 0 || at + 4 + length > bytes.length) throw new RangeError('a block is cut short');
    inflateBlock(bytes.subarray(at + 4, at + 4 + length), output);
    at += 4 + length;
  }
}

function inflateBlock(block: Buffer, output: Output): void {
  const start = output.length;
  const { length, next } = readLength(block);
  for (let at = next; at < block.length && !output.isCut; ) {
    const tag = block[at++] ?? 0;
    const size = tag >> 2;
    if ((tag & 3) === 0) {
      // A literal. A length over 60 is in one to four bytes after the tag.
      const more = Math.max(0, size - 59);
      const count = 1 + (more > 0 ? block.readUIntLE(at, more) : size);
      at += more;
      if (at + count > block.length) throw new RangeError('a literal is cut short');
      output.append(block.subarray(at, at + count));
      at += count;
    } else if ((tag & 3) === 1) {
      output.repeat(((tag >> 5) << 8) | block.readUInt8(at), 4 + (size & 7), start);
      at += 1;
    } else {
      const width = (tag & 3) === 2 ? 2 : 4;
      output.repeat(block.readUIntLE(at, width), 1 + size, start);
      at += width;
    }
  }
  if (!output.isCut && output.length - start !== length)
    throw new RangeError(`a block is not ${length} bytes`);
}

/** Reads the uncompressed length of a block: seven bits a byte, the lowest first. */
function readLength(block: Buffer): { length: number; next: number } {
  let length = 0;
  for (let at = 0; at < 5; at++) {
    const byte = block.readUInt8(at);
    length += (byte & 0x7f) * 2 ** (7 * at);
    if (byte < 0x80) return { length, next: at + 1 };
  }
  throw new RangeError('the length of a block is over 32 bits');
}

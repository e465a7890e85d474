import type { Output } from './output.ts';

const MAGIC = 0x184d2204;
/** Flags of a frame's descriptor. */
const HAS_DICTIONARY = 0x01;
const HAS_CONTENT_CHECKSUM = 0x04;
const HAS_CONTENT_SIZE = 0x08;
const HAS_BLOCK_CHECKSUMS = 0x10;
/** Flag in a block's length: the block is stored, not compressed. */
const STORED = 0x8000_0000;
const MIN_MATCH = 4;

/**
 * LZ4 frames, one after another, as Kafka's clients write them. The checksums inside are not verified, since the record
 * batch has its own. The well-maintained packages for LZ4 can't stop at a limit.
 * @see https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md
 * @throws RangeError for what is not LZ4
 */
export function inflateLz4(bytes: Buffer, output: Output): void {
  for (let at = 0; at < bytes.length && !output.isCut; ) at = inflateFrame(bytes, at, output);
}

/** @returns where the frame ends */
function inflateFrame(bytes: Buffer, start: number, output: Output): number {
  if (bytes.readUInt32LE(start) !== MAGIC) throw new RangeError('a frame lacks its magic number');
  const flags = bytes.readUInt8(start + 4);
  if (flags >> 6 !== 1) throw new RangeError(`a frame is of version ${flags >> 6}, not 1`);
  if (flags & HAS_DICTIONARY) throw new RangeError('a frame needs a dictionary');
  // Flags, block size, content size, checksum of the descriptor.
  let at = start + 4 + 2 + (flags & HAS_CONTENT_SIZE ? 8 : 0) + 1;
  while (!output.isCut) {
    const header = bytes.readUInt32LE(at);
    at += 4;
    if (header === 0) break;
    const length = header & ~STORED;
    if (at + length > bytes.length) throw new RangeError('a block is cut short');
    const block = bytes.subarray(at, at + length);
    if (header & STORED) output.append(block);
    else inflateBlock(block, output);
    at += length + (flags & HAS_BLOCK_CHECKSUMS ? 4 : 0);
  }
  return at + (flags & HAS_CONTENT_CHECKSUM ? 4 : 0);
}

/** @see https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md */
function inflateBlock(block: Buffer, output: Output): void {
  let at = 0;
  /** Lengths of 15 go on in the bytes that follow, up to one that isn't 255. */
  const lengthFrom = (nibble: number) => {
    let length = nibble;
    for (let byte = nibble === 15 ? 255 : 0; byte === 255; length += byte) byte = block.readUInt8(at++);
    return length;
  };
  while (at < block.length && !output.isCut) {
    const token = block.readUInt8(at++);
    const literal = lengthFrom(token >> 4);
    if (at + literal > block.length) throw new RangeError('a literal is cut short');
    output.append(block.subarray(at, at + literal));
    at += literal;
    // The last sequence is a literal alone.
    if (at === block.length) break;
    const distance = block.readUInt16LE(at);
    at += 2;
    output.repeat(distance, MIN_MATCH + lengthFrom(token & 15));
  }
}

import { createGunzip, createZstdDecompress, constants as zlib } from 'node:zlib';
import { inflateLz4 } from './lz4.ts';
import { Output } from './output.ts';
import { inflateSnappy } from './snappy.ts';

/** Codecs by the number in the lowest three bits of a batch's attributes. */
export const CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const;
export type Codec = (typeof CODECS)[number];

/** The compressed bytes are malformed. */
export class CodecError extends Error {
  override readonly name = 'CodecError';
}

interface Inflated {
  bytes: Buffer;
  /** Whether bytes beyond the limit were left out. */
  isCut: boolean;
}

/** Largest window of zstd, as log2 of its bytes: 32 MiB. zstd's default would let a few bytes take 128 MiB. */
const ZSTD = { params: { [zlib.ZSTD_d_windowLogMax]: 25 } };
const ZSTD_MAGIC = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);
/** Most frames of zstd in a batch: an empty one takes 9 bytes, and as much work as any. */
const MAX_ZSTD_FRAMES = 1_000;

/**
 * Inflates what a producer compressed, and stops at the limit: a few bytes may inflate to gigabytes.
 * @param limit most bytes to inflate
 * @throws CodecError
 */
export async function inflate(codec: Codec, bytes: Buffer, limit: number): Promise<Inflated> {
  const output = new Output(limit);
  try {
    if (codec === 'none') output.append(bytes);
    else if (codec === 'gzip') await pump(createGunzip(), bytes, output);
    else if (codec === 'zstd') await inflateZstd(bytes, output);
    else if (codec === 'snappy') inflateSnappy(bytes, output);
    else inflateLz4(bytes, output);
  } catch (cause) {
    throw new CodecError(`${codec}: ${(cause as Error).message}`, { cause });
  }
  return { bytes: output.bytes(), isCut: output.isCut };
}

/** A producer that flushes may write several frames. Node's decompressor stops after the first one. */
async function inflateZstd(bytes: Buffer, output: Output): Promise<void> {
  let rest = bytes;
  for (let frames = 0; frames === 0 || rest.subarray(0, 4).equals(ZSTD_MAGIC); frames++) {
    if (frames === MAX_ZSTD_FRAMES) throw new RangeError(`there are over ${MAX_ZSTD_FRAMES} frames`);
    rest = rest.subarray(await pump(createZstdDecompress(ZSTD), rest, output));
  }
}

/** Runs one of Node's decompressors until all bytes are inflated or the output is full. @returns bytes it took */
async function pump(stream: ReturnType<typeof createGunzip>, bytes: Buffer, output: Output): Promise<number> {
  stream.end(bytes);
  try {
    for await (const chunk of stream) {
      output.append(chunk);
      if (output.isCut) return bytes.length;
    }
    return stream.bytesWritten;
  } finally {
    stream.destroy();
  }
}

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
    else if (codec === 'zstd') await pump(createZstdDecompress(ZSTD), bytes, output);
    else if (codec === 'snappy') inflateSnappy(bytes, output);
    else inflateLz4(bytes, output);
  } catch (cause) {
    throw new CodecError(`${codec}: ${(cause as Error).message}`, { cause });
  }
  return { bytes: output.bytes(), isCut: output.isCut };
}

/** Runs one of Node's decompressors until all bytes are inflated or the output is full. */
async function pump(stream: ReturnType<typeof createGunzip>, bytes: Buffer, output: Output): Promise<void> {
  stream.end(bytes);
  try {
    for await (const chunk of stream) {
      output.append(chunk);
      if (output.isCut) return;
    }
  } finally {
    stream.destroy();
  }
}

import { gzipSync, zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { compressFrameSync } from 'lz4-napi';
import { compressSync as snappySync } from 'snappy';
import { describe, expect, test } from 'vitest';
import { CodecError, inflate } from '../packages/kafka/src/fetch/inflate.ts';
import { inXerialBlocks } from './hostile/parts/kafka.ts';

const codecs = {
  gzip: ['gzip', gzipSync],
  'raw Snappy': ['snappy', snappySync],
  'Snappy in blocks': ['snappy', inXerialBlocks],
  LZ4: ['lz4', compressFrameSync],
  Zstandard: ['zstd', zstdCompressSync],
} as const;

const LIMIT = 1_000_000;
/** Bytes with repetitions near and far. */
const samples = fc
  .array(fc.tuple(fc.uint8Array({ maxLength: 300 }), fc.integer({ min: 1, max: 400 })), { maxLength: 12 })
  .map((parts) => Buffer.concat(parts.flatMap(([bytes, times]) => Array(times).fill(Buffer.from(bytes)))));

describe.each(Object.entries(codecs))('the decompressor of %s', (_name, [codec, compress]) => {
  test('returns the bytes that were compressed', async () => {
    await fc.assert(
      fc.asyncProperty(samples, async (bytes) => {
        const inflated = await inflate(codec, compress(bytes), LIMIT);
        expect(inflated.isCut).toBe(bytes.length > LIMIT);
        expect(inflated.bytes.equals(bytes.subarray(0, LIMIT))).toBe(true);
      }),
      { numRuns: 50 },
    );
  });

  test('returns only the first bytes of a decompression bomb', async () => {
    const bomb = compress(Buffer.alloc(60_000_000));
    const before = process.memoryUsage.rss();
    const { bytes, isCut } = await inflate(codec, bomb, LIMIT);
    expect([bytes.length, isCut]).toEqual([LIMIT, true]);
    expect(process.memoryUsage.rss() - before).toBeLessThan(50_000_000);
  });

  test('returns bytes or a CodecError for damaged input', async () => {
    const good = compress(Buffer.from('the same again, the same again, '.repeat(200)));
    const place = fc.tuple(fc.nat(good.length - 1), fc.nat(255));
    await fc.assert(
      fc.asyncProperty(
        fc.array(place, { minLength: 1, maxLength: 4 }),
        fc.nat(good.length),
        async (places, cut) => {
          const damaged = Buffer.from(good.subarray(0, cut));
          for (const [at, byte] of places) if (at < damaged.length) damaged[at] = byte;
          try {
            expect((await inflate(codec, damaged, LIMIT)).bytes.length).toBeLessThanOrEqual(LIMIT);
          } catch (error) {
            expect(error).toBeInstanceOf(CodecError);
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});

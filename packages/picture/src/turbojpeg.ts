import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import koffi, { type LibraryHandle } from 'koffi';
import { giveBack, takeMemory } from './memory.ts';
import { PictureError } from './picture-error.ts';

// libjpeg-turbo's library for Linux, from the npm package `@julusian/jpeg-turbo`. The package's JavaScript offers
// neither scaled decoding nor the accurate DCT. The library's C API offers both.
// https://libjpeg-turbo.org/Documentation/Documentation: TurboJPEG 3
const INIT = { compress: 0, decompress: 1 } as const;
const PARAMETER = {
  noRealloc: 2,
  quality: 3,
  subsampling: 4,
  optimise: 11,
  scanLimit: 13,
  maxPixels: 24,
} as const;
const RGB = 0;
const SUBSAMPLING_420 = 2;
/** Rows of a component follow one another without a gap. */
const ALIGNMENT = 1;

type Handle = unknown;

export const turbo = load();

/** @returns `undefined` on platforms for which the package has no library: macOS, Windows */
function load() {
  const path = libraryPath();
  if (!path) return undefined;
  const library = koffi.load(path);
  const factor = koffi.struct('turbojpeg_factor', { num: 'int', denom: 'int' });
  return {
    init: library.func('void *tj3Init(int)'),
    set: library.func('int tj3Set(void *, int, int)'),
    setScale: library.func('tj3SetScalingFactor', 'int', ['void *', factor]),
    decompress: library.func('int tj3Decompress8(void *, void *, size_t, void *, int, int)'),
    decompressToYuv: library.func('int tj3DecompressToYUV8(void *, void *, size_t, void *, int)'),
    compress: library.func(
      'int tj3Compress8(void *, void *, int, int, int, int, _Inout_ void **, _Inout_ size_t *)',
    ),
    compressFromYuv: library.func(
      'int tj3CompressFromYUV8(void *, void *, int, int, int, _Inout_ void **, _Inout_ size_t *)',
    ),
    bufferSize: library.func('size_t tj3JPEGBufSize(int, int, int)'),
    destroy: library.func('void tj3Destroy(void *)'),
  };
}

function libraryPath(): string | undefined {
  if (process.platform !== 'linux') return undefined;
  const folder = dirname(fileURLToPath(import.meta.resolve('@julusian/jpeg-turbo/package.json')));
  const { header } = process.report.getReport() as { header: { glibcVersionRuntime?: string } };
  const musl = header.glibcVersionRuntime ? '' : '-musl';
  const path = join(folder, 'prebuilds', `jpeg-turbo-linux-${process.arch}${musl}`, 'libturbojpeg.so.0');
  return existsSync(path) ? path : undefined;
}

/** Handles that are not in use. A handle processes one picture at a time. */
const idle: Record<keyof typeof INIT, Handle[]> = { compress: [], decompress: [] };

async function withHandle<Result>(
  kind: keyof typeof INIT,
  use: (library: NonNullable<typeof turbo>, handle: Handle) => Promise<Result>,
): Promise<Result> {
  if (!turbo) throw new Error('libjpeg-turbo is not available on this platform');
  const handle = idle[kind].pop() ?? turbo.init(INIT[kind]);
  try {
    const result = await use(turbo, handle);
    idle[kind].push(handle);
    return result;
  } catch (error) {
    // After a broken picture, the handle's state would break the next one.
    turbo.destroy(handle);
    throw error;
  }
}

/**
 * How samples lie in memory. `rgb`: three bytes a pixel. `yuv`: the JPEG's own three components one after another. Each
 * has whole rows without gaps; in 4:2:0 the sides of the first are rounded up to even numbers.
 */
export type SampleForm = 'rgb' | 'yuv';

/**
 * Decodes a JPEG at `1 / divisor` of its sides, rounded up, on libuv's threads.
 * @param target at least as large as the picture in this form
 * @param limits for the library itself: it refuses pictures beyond them, even if the header's check has missed them
 * @throws PictureError also where libjpeg only warns: parts of a picture that is cut off or corrupt would be grey
 */
export async function decompress(
  jpeg: Buffer,
  target: Buffer,
  divisor: 1 | 2 | 4 | 8,
  limits: { scans: number; pixels: number },
  form: SampleForm = 'rgb',
): Promise<void> {
  await withHandle('decompress', async (library, handle) => {
    library.set(handle, PARAMETER.scanLimit, limits.scans);
    library.set(handle, PARAMETER.maxPixels, limits.pixels);
    library.setScale(handle, { num: 1, denom: divisor });
    const [call, ...layout] =
      form === 'rgb' ? [library.decompress, 0, RGB] : [library.decompressToYuv, ALIGNMENT];
    const code = await inBackground(call, handle, jpeg, jpeg.length, target, ...layout);
    if (code !== 0) throw new PictureError('the JPEG is cut off or corrupt');
  });
}

export interface EncodeOptions {
  /** 1..100 */
  quality: number;
  /** Whether the Huffman codes are optimised for the picture: up to a tenth fewer bytes, in 1.5 times the time. */
  optimise?: boolean;
}

/**
 * Encodes `height` rows of `width` pixels, RGB or YCbCr in 4:2:0, to a JPEG in 4:2:0 on libuv's threads.
 */
export async function compress(
  samples: Buffer,
  form: SampleForm,
  width: number,
  height: number,
  { quality, optimise = false }: EncodeOptions,
): Promise<Buffer> {
  return withHandle('compress', async (library, handle) => {
    library.set(handle, PARAMETER.noRealloc, 1);
    library.set(handle, PARAMETER.quality, quality);
    library.set(handle, PARAMETER.subsampling, SUBSAMPLING_420);
    library.set(handle, PARAMETER.optimise, Number(optimise));
    // The library writes into reused memory. A buffer of its own would grow, and be copied, until the JPEG fits.
    const target = takeMemory(Number(library.bufferSize(width, height, SUBSAMPLING_420)));
    try {
      const size = [target.length];
      const [call, ...layout] =
        form === 'rgb'
          ? [library.compress, width, 0, height, RGB]
          : [library.compressFromYuv, width, ALIGNMENT, height];
      const code = await inBackground(call, handle, samples, ...layout, [target], size);
      if (code !== 0) throw new Error(`libjpeg-turbo can't encode ${width} x ${height}`);
      return Buffer.from(target.subarray(0, size[0]));
    } finally {
      giveBack(target);
    }
  });
}

function inBackground(call: ReturnType<LibraryHandle['func']>, ...args: unknown[]): Promise<number> {
  return new Promise((resolve, reject) => {
    call.async(...args, (error: Error | null, code: number) => (error ? reject(error) : resolve(code)));
  });
}

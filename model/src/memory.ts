import koffi from 'koffi';

/** Parameters of `mallopt`, as malloc.h numbers them. */
const [M_TRIM_THRESHOLD, M_MMAP_THRESHOLD] = [-1, -3];
/** Larger blocks have memory pages of their own, which are returned when they are freed. Bytes. */
const WHILE_LOADING = 262_144;
/** The same while pictures are processed. Smaller blocks are reused, as new pages for each take time. Bytes. */
const WHILE_SERVING = 8_388_608;

/** Functions of glibc; `undefined` where it is not the C library. */
const glibc = load();
let loads = 0;

/**
 * Loads a model and saves memory meanwhile. A runtime copies the weights, block by block, into the order in which it
 * computes: glibc would keep the old blocks, as large as all weights.
 */
export async function inLittleMemory<T>(loadModel: () => Promise<T>): Promise<T> {
  loads++;
  glibc?.mallopt(M_MMAP_THRESHOLD, WHILE_LOADING);
  try {
    return await loadModel();
  } finally {
    if (--loads === 0) {
      glibc?.mallopt(M_MMAP_THRESHOLD, WHILE_SERVING);
      glibc?.mallopt(M_TRIM_THRESHOLD, 2 * WHILE_SERVING);
      glibc?.trim(0);
    }
  }
}

function load() {
  try {
    const library = koffi.load('libc.so.6');
    return {
      mallopt: library.func('int mallopt(int, int)') as (parameter: number, value: number) => number,
      trim: library.func('int malloc_trim(size_t)') as (kept: number) => number,
    };
  } catch {
    return undefined;
  }
}

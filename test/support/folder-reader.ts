import { open, readdir, readFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { cached, picturesOfSegment, type Reader } from '@video-pipeline/storage';

/** The name of a file while S3Proxy writes it. The file remains when S3Proxy is killed. */
const PARTIAL = /-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/**
 * Reads the objects of a bucket from the files of S3Proxy, which is much faster than requests.
 * A page has all objects, without their times, sizes and ETags.
 */
export function folderReader(root: string): Reader {
  const segments = cached(async (key) => picturesOfSegment(await readFile(join(root, key))), 30_000, 64);
  return {
    async page(prefix) {
      const files = await readdir(join(root, prefix), { recursive: true, withFileTypes: true }).catch(
        () => [],
      );
      const keys = files
        .filter((file) => file.isFile() && !PARTIAL.test(file.name))
        .map((file) => relative(root, join(file.parentPath, file.name)));
      return { objects: keys.sort().map((key) => ({ key, stored: 0, etag: '', size: 0 })) };
    },
    async read(key, range) {
      if (range && 'index' in range) return (await segments(key))[range.index] ?? Buffer.alloc(0);
      if (!range) return readFile(join(root, key));
      const file = await open(join(root, key));
      try {
        const { buffer, bytesRead } = await file.read(
          Buffer.alloc(range.length),
          0,
          range.length,
          range.offset,
        );
        return buffer.subarray(0, bytesRead);
      } finally {
        await file.close();
      }
    },
  };
}

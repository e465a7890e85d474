import { open, readdir, readFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { cached, picturesOfSegment, type Reader } from '@video-pipeline/storage';

/** What S3Proxy calls a file while it writes it; one is left behind where it is killed. */
const PARTIAL = /-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/**
 * The objects of a bucket as S3Proxy keeps them, each a file: read in a small part of the time that requests take.
 * A page holds all there are, and says neither when they were stored nor what they hold.
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

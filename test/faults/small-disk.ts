import { execFile } from 'node:child_process';
import { mkdir, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const CHUNK = Buffer.alloc(64 * 1024);
const PAGE = Buffer.alloc(4 * 1024);

/** A small file system that can be filled. */
export interface SmallDisk {
  folder: string;
  /** Fills the remaining space. */
  fill(): Promise<void>;
  /** Frees the space that {@link fill} used. */
  free(): Promise<void>;
  unmount(): Promise<void>;
}

/** Whether this process may mount a file system. */
export const canMount = process.platform === 'linux' && process.getuid?.() === 0;

/** @param folder where it is mounted; it is created if it is missing */
export async function mountSmallDisk(folder: string, megabytes: number): Promise<SmallDisk> {
  await mkdir(folder, { recursive: true });
  await run('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', folder]);
  const ballast = join(folder, 'ballast');
  return {
    folder,
    async fill() {
      const file = await open(ballast, 'a');
      try {
        // The remaining space is smaller than a page.
        for (const piece of [CHUNK, PAGE]) while (await fits(file.write(piece)));
      } finally {
        await file.close();
      }
    },
    free: () => rm(ballast, { force: true }),
    async unmount() {
      await run('umount', ['--lazy', folder]);
    },
  };
}

async function fits(write: Promise<unknown>): Promise<boolean> {
  try {
    await write;
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOSPC') return false;
    throw error;
  }
}

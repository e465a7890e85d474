import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout } from 'node:timers/promises';

/** A lock that is older belongs to a process that was killed, milliseconds. */
const LONGEST_MS = 300_000;

/**
 * Waits until no other process holds the lock, and takes it.
 * @param root root of the repository
 * @returns a function that releases it
 */
export async function takeLock(root: string, name: string): Promise<() => void> {
  const lock = join(root, '.sst/locks', name);
  mkdirSync(dirname(lock), { recursive: true });
  for (;;) {
    try {
      writeFileSync(lock, String(process.pid), { flag: 'wx' });
      return () => rmSync(lock, { force: true });
    } catch {
      if (isLeft(lock)) rmSync(lock, { force: true });
      else await setTimeout(200);
    }
  }
}

/**
 * Makes what several processes use, unless it is made already. Those that come meanwhile wait for it.
 * @param name of the lock
 */
export async function makeOnce(
  root: string,
  name: string,
  isMade: () => boolean,
  make: () => Promise<void>,
): Promise<void> {
  if (isMade()) return;
  const release = await takeLock(root, name);
  try {
    if (!isMade()) await make();
  } finally {
    release();
  }
}

/** Whether the holder of a lock has ended without a release. */
function isLeft(lock: string): boolean {
  try {
    if (Date.now() - statSync(lock).mtimeMs > LONGEST_MS) return true;
    const holder = Number(readFileSync(lock, 'utf8'));
    return holder > 0 && !process.kill(holder, 0);
  } catch (error) {
    // ESRCH: the process does not exist. If the lock's file is missing, the caller takes it at its next attempt.
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}

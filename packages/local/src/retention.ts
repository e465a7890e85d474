import { glob, rm, rmdir, stat, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { readConfig } from '@video-pipeline/config';
import { bucketFolder } from './lightweight.ts';
import type { StackOptions } from './services.ts';

const EVERY_MS = 60_000;
const DAY_MS = 24 * 3600_000;
/** With less room than this the user is warned, bytes: the three demo cameras fill it in less than an hour. */
const LITTLE_ROOM = 4 * 1024 ** 3;

/**
 * Looks after the disk of a stack until `signal` aborts. It deletes pictures and clips `keepDays` days after they were
 * stored, as the lifecycle rules of a stage on AWS do. It warns once when there is little room.
 */
export async function watchDisk(
  { dataDir, keepDays }: StackOptions,
  note: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  let isWarned = false;
  while (!signal.aborted) {
    try {
      if (keepDays) {
        const hours = await removeOldHours(dataDir, keepDays);
        if (hours > 0) note(`--keep-days ${keepDays}: deleted ${hours} stream-hours of pictures`);
      }
      const { bavail, bsize } = await statfs(dataDir);
      const isShort = bavail * bsize < LITTLE_ROOM;
      if (isShort && !isWarned) note(shortOf(dataDir, bavail * bsize));
      isWarned = isShort;
    } catch (error) {
      note(`${dataDir} could not be looked after: ${(error as Error).message}`);
    }
    await sleep(EVERY_MS, undefined, { signal }).catch(() => {});
  }
}

const shortOf = (dataDir: string, bytes: number) =>
  `the disk of ${dataDir} has ${(bytes / 1e9).toFixed(1)} GB left: make room, or start with --keep-days 2`;

/**
 * Deletes the folders `hour=...` to which nothing was added for `keepDays` days. As with S3's lifecycle rules, the time
 * of storing counts: a camera's clock may be wrong, and a backlog is stored late.
 * @returns how many
 */
export async function removeOldHours(dataDir: string, keepDays: number, now = Date.now()): Promise<number> {
  const { S3_BUCKET, S3_PREFIX } = readConfig(['S3_BUCKET', 'S3_PREFIX']);
  const bucket = bucketFolder(dataDir, S3_BUCKET);
  let removed = 0;
  for (const top of [S3_PREFIX, 'clips']) {
    for await (const name of glob('*/date=*/hour=*', { cwd: join(bucket, top) })) {
      const hour = join(bucket, top, name);
      if ((await stat(hour)).mtimeMs + keepDays * DAY_MS > now) continue;
      await rm(hour, { recursive: true, force: true });
      removed++;
      // The day's folder goes with its last hour.
      await rmdir(dirname(hour)).catch(() => {});
    }
  }
  return removed;
}

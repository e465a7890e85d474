import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { cacheDir } from '@video-pipeline/assets';
import { spawnGuard } from './guarded.ts';
import type { JavaCommand } from './java.ts';

/** The start of the program, and of what waits for it, comes first. */
const AFTER_MS = 30_000;

/** Archives that are being made. The nodes of a cluster need the same. */
const making = new Set<string>();

export interface SharedClasses {
  /** Arguments of the JVM. */
  flags: string[];
  /**
   * To be called once the program is ready: makes the archive if there is none.
   * @param ended resolves when the program has ended, and with it this work
   * @returns once there is an archive, or none is to be had
   */
  keep(ended: Promise<unknown>, afterMs?: number): Promise<void>;
}

/**
 * Lets a Java program map its classes from an archive in the cache instead of loading and verifying each one: that is nearly
 * half of what Kafka's start takes. The first run lists its classes, and while it goes on an archive is made of them, behind
 * all other work. A JVM passes by an archive that does not fit it.
 * @param folder of the program's data
 * @see https://docs.oracle.com/en/java/javase/17/vm/class-data-sharing.html
 */
export function sharedClasses(java: JavaCommand, folder: string): SharedClasses {
  const key = createHash('sha256')
    .update([java.version, ...java.command].join('\n'))
    .digest('hex');
  const archive = join(cacheDir(), 'java-classes', `${key.slice(0, 16)}.jsa`);
  if (existsSync(archive)) return { flags: [`-XX:SharedArchiveFile=${archive}`], keep: async () => {} };
  const list = join(folder, 'classes');
  return {
    flags: [`-XX:DumpLoadedClassList=${list}`],
    async keep(ended, afterMs = AFTER_MS) {
      if (making.has(archive)) return;
      making.add(archive);
      const timer = new AbortController();
      const over = ended.then(() => timer.abort());
      await Promise.race([over, new Promise((resolve) => setTimeout(resolve, afterMs).unref())]);
      if (!timer.signal.aborted) await make(java, list, archive, timer.signal).catch(() => {});
      making.delete(archive);
    },
  };
}

async function make(java: JavaCommand, list: string, archive: string, signal: AbortSignal): Promise<void> {
  await mkdir(dirname(archive), { recursive: true });
  const partial = `${archive}.${process.pid}`;
  // The program goes on writing to it: what it has not written to the end does not count.
  const classes = await readFile(list, 'utf8');
  await writeFile(`${partial}.list`, classes.slice(0, classes.lastIndexOf('\n') + 1));
  const [command, ...args] = java.command;
  const dump = ['-XX:+UseSerialGC', '-Xshare:dump', `-XX:SharedClassListFile=${partial}.list`];
  const guard = await spawnGuard({
    command: ['nice', '-n', '19', command, ...args, ...dump, `-XX:SharedArchiveFile=${partial}`],
    env: java.env,
    pidFile: `${partial}.pid`,
    logFile: `${partial}.log`,
  });
  signal.addEventListener('abort', () => guard.stdin?.destroy());
  await new Promise((resolve) => guard.once('exit', resolve));
  if (existsSync(partial) && !signal.aborted) await rename(partial, archive);
  for (const left of ['', '.list', '.pid', '.log']) await rm(`${partial}${left}`, { force: true });
}

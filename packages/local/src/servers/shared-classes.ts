import { createHash, randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { cacheDir } from '@video-pipeline/assets';
import { readPid, signalProcess } from '../supervisor/processes.ts';
import { spawnGuard } from './guarded.ts';
import type { JavaCommand } from './java.ts';

/** Wait before the archive is made, milliseconds: the start of the program and its clients comes first. */
const AFTER_MS = 30_000;

/** Archives that are being made: the nodes of a cluster need the same one. */
const making = new Set<string>();

interface SharedClasses {
  /** Arguments of the JVM. */
  flags: string[];
  /**
   * Makes the archive if there is none. To be called once the program is ready.
   * @param ended resolves when the program has ended; that also ends this work
   * @returns once the archive exists, or can't be made
   */
  keep(ended: Promise<unknown>, afterMs?: number): Promise<void>;
}

/**
 * Lets a Java program map its classes from an archive in the cache, instead of loading and verifying each class.
 * Loading takes nearly half of Kafka's start. The first run lists its classes. While that run goes on, an archive of
 * these classes is made at low priority. A JVM ignores an archive that does not fit it.
 * @param folder folder of the program's data
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
  const partial = `${archive}.${randomUUID()}`;
  // The program is still writing the list: its last line may be incomplete.
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
  // Half an archive is of no use. At its low priority the JVM would take seconds to end in order.
  signal.addEventListener('abort', () => {
    signalProcess(readPid(`${partial}.pid`) ?? 0, 'SIGKILL');
    guard.stdin?.destroy();
  });
  await new Promise((resolve) => guard.once('exit', resolve));
  if (existsSync(partial) && !signal.aborted) await rename(partial, archive);
  for (const left of ['', '.list', '.pid', '.log']) await rm(`${partial}${left}`, { force: true });
}

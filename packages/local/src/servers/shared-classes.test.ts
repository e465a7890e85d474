import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { sharedClasses } from './shared-classes.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'classes-'));
  vi.stubEnv('VIDEO_PIPELINE_CACHE', join(folder, 'cache'));
  await writeFile(join(folder, 'classes'), 'java/lang/Object\nkafka/Kafka\nkafka/Ha');
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true });
});

/** A JVM that makes an archive of the list that it is given, as `body` says. */
async function javaThat(body: string) {
  const path = join(folder, 'java');
  const parse = `for arg; do case $arg in *ListFile=*) list=\${arg#*=};; *ArchiveFile=*) archive=\${arg#*=};; esac; done`;
  await writeFile(path, `#!/bin/sh\n${parse}\n${body}\n`, { mode: 0o755 });
  return { command: [path, '-cp', 'kafka.jar'] as [string, ...string[]], env: process.env, version: '25' };
}
const kept = () => readdir(join(folder, 'cache', 'java-classes'));
const forEver = new Promise<never>(() => {});

test('the first run lists its classes, an archive is made from the list, and later runs use it', async () => {
  const java = await javaThat('cp "$list" "$archive"');
  const first = sharedClasses(java, folder);
  expect(first.flags).toEqual([`-XX:DumpLoadedClassList=${join(folder, 'classes')}`]);
  await first.keep(forEver, 0);
  const [archive = ''] = await kept();
  expect(await kept()).toEqual([expect.stringMatching(/^[0-9a-f]{16}\.jsa$/)]);
  const path = join(folder, 'cache', 'java-classes', archive);
  expect(await readFile(path, 'utf8')).toBe('java/lang/Object\nkafka/Kafka\n');
  expect(sharedClasses(java, folder).flags).toEqual([`-XX:SharedArchiveFile=${path}`]);
  // Another Java could not use it.
  expect(sharedClasses({ ...java, version: '26' }, folder).flags).not.toContain(path);
});

test('a program that ends during the dump leaves no partial archive and no process', async () => {
  const java = await javaThat(': > "$archive"; echo $$ > "$archive.made-by"; exec sleep 100');
  const ended = Promise.withResolvers<void>();
  const archived = sharedClasses(java, folder).keep(ended.promise, 0);
  const maker = async () => {
    const file = (await kept()).find((name) => name.endsWith('.made-by'));
    return Number(file && (await readFile(join(folder, 'cache', 'java-classes', file), 'utf8')));
  };
  await expect.poll(() => maker().catch(() => 0), { timeout: 10_000 }).toBeGreaterThan(0);
  const pid = await maker();
  ended.resolve();
  await archived;
  expect(() => process.kill(pid, 0)).toThrow('ESRCH');
  expect((await kept()).filter((name) => !name.endsWith('.made-by'))).toEqual([]);
});

test('an archive that can not be made has no effect', async () => {
  const java = await javaThat('exit 1');
  await sharedClasses(java, folder).keep(forEver, 0);
  expect(await kept()).toEqual([]);
});

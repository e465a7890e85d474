import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { installJava, type JavaProgram } from './java.ts';

const PROGRAM: JavaProgram = { name: 'It 1.0', folder: 'it-1.0', artifacts: ['org.example:it:1.0'] };

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'java-'));
  vi.stubEnv('PATH', folder);
  vi.stubEnv('VIDEO_PIPELINE_CACHE', join(folder, 'cache'));
  for (const tool of ['mkdir', 'touch']) await symlink(`/usr/bin/${tool}`, join(folder, tool));
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true });
});

const tool = (name: string, script: string) =>
  writeFile(join(folder, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
const java17 = () => tool('java', `echo 'openjdk version "17.0.1" 2021-10-19' >&2`);

describe('installing a Java program', () => {
  it('says what to do without Java, or with an old one', async () => {
    await expect(installJava(PROGRAM)).rejects.toThrow(
      /^no working 'java' on PATH: install a Java runtime 17/,
    );
    await tool('java', `echo 'java version "1.8.0_292"' >&2`);
    await expect(installJava(PROGRAM)).rejects.toThrow(/^'java' on PATH is version 8: install/);
  });

  it('says what to do without Maven', async () => {
    await java17();
    await expect(installJava(PROGRAM)).rejects.toThrow(/^no 'mvn' on PATH: install Apache Maven/);
  });

  it('says what Maven said, and leaves nothing half there', async () => {
    await java17();
    await tool('mvn', `echo '[ERROR] Unknown host repo.example'; echo '[ERROR] more'; exit 1`);
    await expect(installJava(PROGRAM)).rejects.toThrow(
      "Maven can't install It 1.0; check the network and the mirrors in ~/.m2/settings.xml: Unknown host repo.example",
    );
    expect(await readdir(join(folder, 'cache'))).toEqual([]);
  });

  it('asks Maven once, for just these artifacts', async () => {
    await java17();
    // A Maven that makes the folder it is told to.
    await tool(
      'mvn',
      `for word in "$@"; do case $word in -DoutputDirectory=*) mkdir "\${word#*=}"; touch "\${word#*=}/it.jar";; esac; done`,
    );
    const notes: string[] = [];
    const note = (line: string) => notes.push(line);
    const classPath = await installJava(PROGRAM, note);
    expect(classPath).toBe(join(folder, 'cache', 'it-1.0', '*'));
    expect(existsSync(join(folder, 'cache', 'it-1.0', 'it.jar'))).toBe(true);
    await rm(join(folder, 'mvn'));
    expect(await installJava(PROGRAM, note)).toBe(classPath);
    expect(notes).toEqual(['installing It 1.0 through Maven, once (about 45 MB)']);
  });
});

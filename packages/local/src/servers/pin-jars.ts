import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { globSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, sep } from 'node:path';
import { promisify } from 'node:util';
import type { Jar } from '@video-pipeline/assets';
import { Command } from 'commander';

new Command('npm run pin:jars --')
  .description(
    'Asks Maven which jars Kafka and S3Proxy need, and writes jars.json. For a changed version in pin-jars.ts.',
  )
  .parse();

interface Program {
  /** `groupId:artifactId:version`, each with its run-time dependencies. */
  artifacts: readonly `${string}:${string}:${string}`[];
  /** Paths of dependencies that are never loaded here. */
  unused: readonly RegExp[];
}

const PROGRAMS: Record<string, Program> = {
  kafka: {
    artifacts: ['org.apache.kafka:kafka_2.13:4.1.0', 'org.apache.logging.log4j:log4j-slf4j-impl:2.24.3'],
    unused: [/^org\/(checkerframework|scala-lang\/scala-reflect)\//],
  },
  s3proxy: {
    // The version of jackson-annotations that S3Proxy names is too old for its Jackson.
    artifacts: ['org.gaul:s3proxy:4.1.0', 'com.fasterxml.jackson.core:jackson-annotations:2.21'],
    // Clouds other than a folder on the disk.
    unused: [
      /^com\/(azure|microsoft|nimbusds|squareup)\//,
      /^com\/fasterxml\/jackson\/(core\/jackson-(core|databind)|dataformat|datatype)\//,
      /^com\/github\/(fge|openstack4j)\//,
      /^com\/google\/(api|api-client|apis|auth|cloud|code|http-client|oauth-client|protobuf|re2j)\//,
      /^io\/(grpc|netty|opencensus|opentelemetry|perfmark|projectreactor)\//,
      /^net\/java\//,
      /^org\/(apache\/(httpcomponents|sshd)|checkerframework|conscrypt|openstack4j|threeten|yaml)\//,
    ],
  },
};

const COPY = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies';

const pinned: Record<string, Jar[]> = {};
for (const [name, program] of Object.entries(PROGRAMS)) pinned[name] = await jarsOf(name, program);
const listOf = (jars: readonly Jar[]) => jars.map((jar) => JSON.stringify(jar)).join(',\n');
const lists = Object.entries(pinned).map(([name, jars]) => `"${name}": [\n${listOf(jars)}\n]`);
await writeFile(join(import.meta.dirname, 'jars.json'), `{\n${lists.join(',\n')}\n}\n`);

async function jarsOf(name: string, { artifacts, unused }: Program): Promise<Jar[]> {
  const folder = await mkdtemp(join(tmpdir(), 'pin-jars-'));
  try {
    const pom = join(folder, 'pom.xml');
    await writeFile(pom, pomOf(name, artifacts));
    // --strict-checksums: Maven fails on a jar that does not match the repository's checksum.
    const args = ['--batch-mode', '--quiet', '--strict-checksums', '--file', pom, COPY];
    const options = [
      '-Dmdep.useRepositoryLayout=true',
      '-DincludeScope=runtime',
      `-DoutputDirectory=${folder}/lib`,
    ];
    await promisify(execFile)('mvn', [...args, ...options]);
    const paths = globSync('**/*.jar', { cwd: join(folder, 'lib') }).map((path) => path.split(sep).join('/'));
    const kept = paths.filter((path) => !unused.some((group) => group.test(path))).sort();
    return Promise.all(
      kept.map(async (path) => {
        const content = await readFile(join(folder, 'lib', path));
        return { path, bytes: content.length, sha256: createHash('sha256').update(content).digest('hex') };
      }),
    );
  } finally {
    await rm(folder, { recursive: true });
  }
}

function pomOf(name: string, artifacts: Program['artifacts']): string {
  const dependencies = artifacts.map((artifact) => {
    const [group, id, version] = artifact.split(':');
    return `<dependency><groupId>${group}</groupId><artifactId>${id}</artifactId><version>${version}</version></dependency>`;
  });
  return `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>video-pipeline</groupId><artifactId>${name}</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>${dependencies.join('')}</dependencies>
</project>`;
}

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { freePort } from '../../packages/local/src/supervisor/processes.ts';

/** What the file of {@link ProvidedContext.sharedServers} says once the servers are up. */
export const UP = 'up';

declare module 'vitest' {
  interface ProvidedContext {
    /** `host:port` of a Kafka for all test files that take names from {@link unique}, and do not end it. */
    kafka: string;
    /** S3Proxy for all test files that take a bucket from {@link unique}, and do not end it. */
    s3: { url: string; AWS_ACCESS_KEY_ID: string; AWS_SECRET_ACCESS_KEY: string };
    /** A file that says {@link UP} as soon as both are, or else why not. */
    sharedServers: string;
  }
}

/** The servers of this run, and how many projects use them. A project loads this module anew. */
const run = globalThis as { sharedServers?: { started: Promise<Shared>; users: number } | undefined };
type Shared = Awaited<ReturnType<typeof start>>;

/**
 * Starts the Kafka and the S3Proxy that the test files of all projects share. The files that need none do not wait for
 * them; the others do, in `await-servers.ts`.
 */
export default async function shareServers(project: TestProject): Promise<() => Promise<void>> {
  run.sharedServers ??= { started: start(), users: 0 };
  const shared = run.sharedServers;
  shared.users++;
  const { kafka, s3, sharedServers, stop } = await shared.started;
  project.provide('kafka', kafka);
  project.provide('s3', s3);
  project.provide('sharedServers', sharedServers);
  return async () => {
    if (--shared.users > 0) return;
    run.sharedServers = undefined;
    await stop();
  };
}

/** Returns as soon as it is known where they will be. */
async function start() {
  // Imported once: kafkajs is mended where it is loaded, and that can't be done twice.
  const { startKafka, startS3Proxy } = await import('@video-pipeline/local');
  // As folders may be named: Kafka takes a comma for the end of a path, and log4j a per cent sign for a pattern.
  const dataDir = await mkdtemp(join(tmpdir(), 'shared, 10%z-'));
  const credentials = { AWS_ACCESS_KEY_ID: 'tests', AWS_SECRET_ACCESS_KEY: crypto.randomUUID() };
  const [kafkaPort, s3Port] = [await freePort(), await freePort()];
  // Their classes are archived, too: dozens of tests start their own, each in half the time then.
  const options = { dataDir, archiveAfterMs: 0 };
  const servers = Promise.all([
    startKafka({ ...options, port: kafkaPort }),
    startS3Proxy({ ...options, port: s3Port, credentials }),
  ]);
  const ready = Promise.all([
    servers.then((all) => Promise.all(all.map((server) => server.archived))),
    // Fetched once: the workers would do it side by side.
    import('../e2e/chromium.ts'),
  ]);
  const sharedServers = join(dataDir, 'up');
  const said = ready.then(() => UP, String).then((text) => writeFile(sharedServers, text));
  const stop = async () => {
    await said;
    await Promise.all((await servers.catch(() => [])).map((server) => server.stop()));
    await rm(dataDir, { recursive: true });
  };
  const s3 = { url: `http://127.0.0.1:${s3Port}`, ...credentials };
  return { kafka: `127.0.0.1:${kafkaPort}`, s3, sharedServers, stop };
}

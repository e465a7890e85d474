import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';

declare module 'vitest' {
  interface ProvidedContext {
    /** `host:port` of a Kafka for all test files that take names from {@link unique}, and do not end it. */
    kafka: string;
    /** S3Proxy for all test files that take a bucket from {@link unique}, and do not end it. */
    s3: { url: string; AWS_ACCESS_KEY_ID: string; AWS_SECRET_ACCESS_KEY: string };
  }
}

/** The servers of this run, and how many projects use them. A project loads this module anew. */
const run = globalThis as { sharedServers?: { started: Promise<Shared>; users: number } | undefined };
type Shared = Awaited<ReturnType<typeof start>>;

/** Starts the Kafka and the S3Proxy that the test files of all projects share. */
export default async function shareServers(project: TestProject): Promise<() => Promise<void>> {
  run.sharedServers ??= { started: start(), users: 0 };
  const shared = run.sharedServers;
  shared.users++;
  const { kafka, s3, stop } = await shared.started;
  project.provide('kafka', kafka.bootstrap);
  project.provide('s3', { url: s3.url, ...s3.credentials });
  return async () => {
    if (--shared.users > 0) return;
    run.sharedServers = undefined;
    await stop();
  };
}

/**
 * Archives the classes of Kafka and S3Proxy, too, unless they are: dozens of tests start their own, each in half the
 * time then.
 */
async function start() {
  // Imported once: kafkajs is mended where it is loaded, and that can't be done twice.
  const { startKafka, startS3Proxy } = await import('@video-pipeline/local');
  // Fetched once: the workers would do it side by side.
  await import('../e2e/chromium.ts');
  // As folders may be named: Kafka takes a comma for the end of a path, and log4j a per cent sign for a pattern.
  const dataDir = await mkdtemp(join(tmpdir(), 'shared, 10%z-'));
  const options = { dataDir, archiveAfterMs: 0 };
  const [kafka, s3] = await Promise.all([startKafka(options), startS3Proxy(options)]);
  await Promise.all([kafka.archived, s3.archived]);
  const stop = async () => {
    await Promise.all([kafka.stop(), s3.stop()]);
    await rm(dataDir, { recursive: true });
  };
  return { kafka, s3, stop };
}

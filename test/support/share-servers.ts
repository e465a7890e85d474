import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startKafka, startS3Proxy } from '@video-pipeline/local';
import type { TestProject } from 'vitest/node';

declare module 'vitest' {
  interface ProvidedContext {
    /** `host:port` of a Kafka for all test files that take names from {@link unique}, and do not end it. */
    kafka: string;
  }
}

/**
 * Starts the Kafka that test files share. Archives the classes of Kafka and S3Proxy, unless they are: dozens of tests start
 * their own, each in half the time then.
 */
export default async function shareServers(project: TestProject): Promise<() => Promise<void>> {
  const dataDir = await mkdtemp(join(tmpdir(), 'shared-'));
  const options = { dataDir, archiveAfterMs: 0 };
  const [kafka, s3] = await Promise.all([startKafka(options), startS3Proxy(options)]);
  await Promise.all([kafka.archived, s3.archived]);
  await s3.stop();
  project.provide('kafka', kafka.bootstrap);
  return async () => {
    await kafka.stop();
    await rm(dataDir, { recursive: true });
  };
}

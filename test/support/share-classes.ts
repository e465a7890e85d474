import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startKafka, startS3Proxy } from '@video-pipeline/local';

/** Archives the classes of Kafka and S3Proxy, unless they are: dozens of tests start them, each in half the time then. */
export default async function shareClasses(): Promise<void> {
  const dataDir = await mkdtemp(join(tmpdir(), 'classes-'));
  const options = { dataDir, archiveAfterMs: 0 };
  const servers = await Promise.all([startKafka(options), startS3Proxy(options)]);
  await Promise.all(servers.map(({ archived }) => archived));
  await Promise.all(servers.map((server) => server.stop()));
  await rm(dataDir, { recursive: true });
}

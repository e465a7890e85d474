import { readConfig } from '@video-pipeline/config';
import { connectKafka, SILENT, withAdmin } from '@video-pipeline/kafka';
import { STAGE_VARIABLES } from '@video-pipeline/stages';
import { createReader, STORAGE_VARIABLES } from '@video-pipeline/storage';
import { createLogger, messageOf, withTimeout } from '@video-pipeline/telemetry';

const NAMES = [
  ...STORAGE_VARIABLES,
  'KAFKA_BOOTSTRAP_SERVERS',
  ...STAGE_VARIABLES,
  'S3_PREFIX',
  'STORE',
  'JPEG_QUALITY',
  'BATCH_SIZE',
] as const;

export const TARGET_HELP = `
Looks at the pipeline that runs on this machine (--data-dir <folder> for another than .data), at a deployed one with
--stage <name>, or at the servers that KAFKA_BOOTSTRAP_SERVERS, AWS_ENDPOINT_URL and S3_BUCKET name.`;

/** Longest wait before a server counts as not answering. */
const CONNECT_TIMEOUT_MS = 4_500;

/**
 * Connects one command to Kafka and to the bucket that the environment names.
 * @param needs servers that must answer before the command begins
 * @throws Error naming the server that does not answer; ConfigError
 */
export async function connectEnvironment(name: string, needs: readonly ('kafka' | 'bucket')[] = ['bucket']) {
  const config = readConfig(NAMES);
  const bucket = createReader(config);
  const kafka = connectKafka(name, createLogger(name));
  const { S3_BUCKET, AWS_ENDPOINT_URL = 'AWS', KAFKA_BOOTSTRAP_SERVERS } = config;
  const checks = {
    bucket: () => reach(`the bucket ${S3_BUCKET} at ${AWS_ENDPOINT_URL}`, bucket.page('', { limit: 1 })),
    kafka: () => reach(`Kafka at ${KAFKA_BOOTSTRAP_SERVERS}`, ping(name)),
  };
  await Promise.all(needs.map((need) => checks[need]()));
  return { config, bucket, kafka };
}

async function ping(name: string): Promise<void> {
  const limits = { connectionTimeout: 2_000, retry: { retries: 1 } };
  await withAdmin(connectKafka(name, SILENT, undefined, limits), async () => {});
}

async function reach(server: string, answer: Promise<unknown>): Promise<void> {
  await withTimeout(CONNECT_TIMEOUT_MS, answer).catch((cause) => {
    throw new Error(`${server} does not answer: ${messageOf(cause)}`, { cause });
  });
}

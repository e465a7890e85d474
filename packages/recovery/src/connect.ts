import { setTimeout as sleep } from 'node:timers/promises';
import { type Config, readConfig } from '@video-pipeline/config';
import { connectKafka, type Kafka } from '@video-pipeline/kafka';
import { STORAGE_VARIABLES } from '@video-pipeline/storage';
import { createLogger } from '@video-pipeline/telemetry';
import { type Bucket, openBucket } from './bucket.ts';

const NAMES = [
  ...STORAGE_VARIABLES,
  'KAFKA_BOOTSTRAP_SERVERS',
  'KAFKA_TOPIC',
  'KAFKA_DETECTIONS_TOPIC',
  'KAFKA_EVENTS_TOPIC',
  'KAFKA_GROUP_ID',
  'S3_PREFIX',
  'STORE',
  'BATCH_SIZE',
] as const;

/** Said at the end of each command's help. */
export const TARGET_HELP = `
Looks at the pipeline that runs on this machine (--data-dir <folder> for another than .data), at a deployed one with
--stage <name>, or at the servers that KAFKA_BOOTSTRAP_SERVERS, AWS_ENDPOINT_URL and S3_BUCKET name.`;

/** A server that does not answer, with its name. */
export class UnreachableError extends Error {
  override readonly name = 'UnreachableError';
}

/** Nobody waits longer to be told that a server does not answer. */
const REACH_MS = 4_500;

export interface Connections {
  config: Config<(typeof NAMES)[number]>;
  bucket: Bucket;
  kafka: Kafka;
}

/**
 * Kafka and the bucket that the environment names, for one command.
 * @param needs what must answer before the command begins
 * @throws UnreachableError, ConfigError
 */
export async function connectEnvironment(
  name: string,
  needs: readonly ('kafka' | 'bucket')[] = ['bucket'],
): Promise<Connections> {
  const config = readConfig(NAMES);
  const bucket = openBucket(config);
  const kafka = connectKafka(name, createLogger(name));
  const { S3_BUCKET, AWS_ENDPOINT_URL = 'AWS', KAFKA_BOOTSTRAP_SERVERS } = config;
  const asked = {
    bucket: () => reach(`the bucket ${S3_BUCKET} at ${AWS_ENDPOINT_URL}`, bucket.page('', { limit: 1 })),
    kafka: () => reach(`Kafka at ${KAFKA_BOOTSTRAP_SERVERS}`, ping(name)),
  };
  await Promise.all(needs.map((need) => asked[need]()));
  return { config, bucket, kafka };
}

async function ping(name: string): Promise<void> {
  const silent = { warn() {}, error() {} };
  const limits = { connectionTimeout: 2_000, retry: { retries: 1 } };
  const admin = connectKafka(name, silent, undefined, limits).admin();
  try {
    await admin.connect();
  } finally {
    await admin.disconnect();
  }
}

async function reach(server: string, answer: Promise<unknown>): Promise<void> {
  const timer = new AbortController();
  const late = sleep(REACH_MS, undefined, { signal: timer.signal }).then(() => {
    throw new Error(`nothing after ${REACH_MS / 1000} s`);
  });
  late.catch(() => {}); // ended below
  try {
    await Promise.race([answer, late]);
  } catch (cause) {
    throw new UnreachableError(`${server} does not answer: ${(cause as Error).message}`, { cause });
  } finally {
    timer.abort();
  }
}

import { readConfig } from '@video-pipeline/config';
import { connectKafka } from '@video-pipeline/kafka';
import { STORAGE_VARIABLES } from '@video-pipeline/storage';
import { createLogger } from '@video-pipeline/telemetry';
import { type Bucket, openBucket } from './bucket.ts';

const NAMES = [
  ...STORAGE_VARIABLES,
  'KAFKA_TOPIC',
  'KAFKA_DETECTIONS_TOPIC',
  'S3_PREFIX',
  'BATCH_SIZE',
] as const;

/** Kafka and the bucket that the environment names, for one command. */
export function connectEnvironment(name: string) {
  const config = readConfig(NAMES);
  const bucket: Bucket = openBucket(config);
  return { config, bucket, kafka: connectKafka(name, createLogger(name)) };
}

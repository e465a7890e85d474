import { S3Client } from '@aws-sdk/client-s3';
import { type Bucket, createReader, type StorageSettings, s3Config } from '@video-pipeline/storage';

/** The bucket that the settings name, with short timeouts: a person waits for the page. Nothing is sent before use. */
export function openArchiveBucket(settings: StorageSettings): Bucket {
  const client = new S3Client({
    ...s3Config(settings),
    maxAttempts: 2,
    // The page shows the timeout, and asks again.
    requestHandler: { connectionTimeout: 2_000, requestTimeout: 3_000, throwOnRequestTimeout: true },
  });
  return createReader(settings, client);
}

// Separate from s3proxy.ts, so that the servers start before the AWS SDK is loaded.
import { CreateBucketCommand, HeadBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { readConfig } from '@video-pipeline/config';
import { STORAGE_VARIABLES, s3Config } from '@video-pipeline/storage';
import { fallbackCredentials } from './credentials.ts';

/**
 * A client for the S3 API at `endpoint`. Without an endpoint it is AWS, where the SDK finds its own settings.
 * @example
 * await ensureBucket(connectS3('http://127.0.0.1:9000'), 'frames');
 */
export function connectS3(
  endpoint?: string,
  credentials: NodeJS.ProcessEnv = fallbackCredentials(),
): S3Client {
  const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey } = credentials;
  const config = readConfig(STORAGE_VARIABLES);
  if (!endpoint) return new S3Client(s3Config(config));
  return new S3Client({
    ...s3Config({ ...config, AWS_ENDPOINT_URL: endpoint }),
    ...(accessKeyId && secretAccessKey ? { credentials: { accessKeyId, secretAccessKey } } : {}),
  });
}

export async function ensureBucket(s3: S3Client, bucket: string): Promise<void> {
  try {
    await s3.send(new HeadBucketCommand({ Bucket: bucket }));
  } catch {
    await s3.send(new CreateBucketCommand({ Bucket: bucket }));
  }
}

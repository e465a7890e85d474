import { PutObjectCommand, S3Client, type S3ClientConfig } from '@aws-sdk/client-s3';
import { type Config, readConfig } from '@video-pipeline/config';

/** Variables that say where objects go. Credentials come from the environment as the AWS SDK reads it. */
export const STORAGE_VARIABLES = ['S3_BUCKET', 'AWS_REGION', 'AWS_ENDPOINT_URL'] as const;
export type StorageSettings = Config<(typeof STORAGE_VARIABLES)[number]>;

export interface StoredObject {
  key: string;
  body: Buffer | string;
  contentType: string;
  /** Small facts kept with the object; values in ASCII. */
  metadata?: Record<string, string>;
}

/** Writes objects into one bucket. */
export interface Store {
  /** Resolves once the bucket has acknowledged the object; an object of the same key is overwritten. */
  put(object: StoredObject): Promise<void>;
}

// Other S3 APIs have no host name for each bucket, and some refuse the checksums that AWS takes.
const OTHER_THAN_AWS = { forcePathStyle: true, requestChecksumCalculation: 'WHEN_REQUIRED' } as const;

/** How the AWS SDK reaches the S3 API that the environment names; connections are kept open. */
export function s3Config({ AWS_REGION, AWS_ENDPOINT_URL }: StorageSettings): S3ClientConfig {
  return {
    region: AWS_REGION,
    ...(AWS_ENDPOINT_URL ? { endpoint: AWS_ENDPOINT_URL, ...OTHER_THAN_AWS } : {}),
    requestHandler: { connectionTimeout: 3_000, requestTimeout: 20_000, throwOnRequestTimeout: true },
  };
}

/** A store on the bucket that the environment names. Nothing is sent before it is used. */
export function createStore(settings: StorageSettings = readConfig(STORAGE_VARIABLES)): Store {
  const client = new S3Client(s3Config(settings));
  return {
    async put({ key, body, contentType, metadata }) {
      await client.send(
        new PutObjectCommand({
          Bucket: settings.S3_BUCKET,
          Key: key,
          Body: body,
          ContentType: contentType,
          ...(metadata ? { Metadata: metadata } : {}),
        }),
      );
    },
  };
}

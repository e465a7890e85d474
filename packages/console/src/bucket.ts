import { ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3';
import { type Bucket, openBucket } from '@video-pipeline/recovery/bucket';
import { type ListedObject, objectsOf, type StorageSettings, s3Config } from '@video-pipeline/storage';

/** The bucket as a tool that browses it needs it: with times, and by folder. */
export interface ArchiveBucket extends Bucket {
  /** All objects of the folder. */
  listAll(prefix: string): Promise<ListedObject[]>;
  /** Names of the folders directly under `prefix`, without slashes. */
  folders(prefix: string): Promise<string[]>;
}

/** The bucket that the settings name. Nothing is sent before it is used. */
export function openArchiveBucket(settings: StorageSettings): ArchiveBucket {
  const client = new S3Client({
    ...s3Config(settings),
    maxAttempts: 2,
    // Somebody waits at the page: it says so, and asks again.
    requestHandler: { connectionTimeout: 2_000, requestTimeout: 3_000, throwOnRequestTimeout: true },
  });
  const bucket = openBucket(settings, client);
  const Bucket = settings.S3_BUCKET;
  return {
    ...bucket,
    listAll: (prefix) => Array.fromAsync(objectsOf(bucket, prefix)),
    async folders(prefix) {
      const names: string[] = [];
      let ContinuationToken: string | undefined;
      do {
        const command = new ListObjectsV2Command({
          Bucket,
          Prefix: prefix,
          Delimiter: '/',
          ContinuationToken,
        });
        const answer = await client.send(command);
        for (const { Prefix = '' } of answer.CommonPrefixes ?? [])
          names.push(Prefix.slice(prefix.length, -1));
        ContinuationToken = answer.NextContinuationToken;
      } while (ContinuationToken);
      return names;
    },
  };
}

import { join } from 'node:path';
import { openArchiveBucket } from '@video-pipeline/console';
import { createStore } from '@video-pipeline/storage';
import { start } from './processes.ts';

/** Starts an S3 API in memory, in a process of its own. @returns its bucket, as the console reads it and as all write it */
export async function startBucket() {
  Object.assign(process.env, { AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' });
  const server = await start('s3', [join(import.meta.dirname, 's3-server.ts')]);
  const settings = {
    S3_BUCKET: 'video-pipeline-output',
    AWS_REGION: 'us-east-1',
    AWS_ENDPOINT_URL: server.url,
  };
  const bucket = openArchiveBucket(settings);
  const stop = async () => {
    bucket.close();
    await server.stop();
  };
  return { bucket, store: createStore(settings), stop };
}

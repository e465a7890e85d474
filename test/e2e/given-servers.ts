import { ListObjectsV2Command } from '@aws-sdk/client-s3';
import type { Detection } from '@video-pipeline/frame';
import { connectS3 } from '@video-pipeline/local';
import { startFauxqs } from 'fauxqs';
import { inject } from 'vitest';
import { readBinaryRequest, startFakeServer } from '../support/fake-server.ts';
import { unique } from '../support/unique.ts';

const CREDENTIALS = { AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' };

/**
 * Servers of a user, which a stack uses instead of its own: the Kafka that all tests share, an S3 API in memory, and
 * an inference server with the same detections for each picture.
 * @param size of every picture, pixels
 */
export async function startGivenServers(
  size: { width: number; height: number },
  detections: readonly Detection[] = [],
) {
  const s3 = await startFauxqs({ port: 0, host: '127.0.0.1', logger: false });
  const url = `http://127.0.0.1:${s3.port}`;
  const inference = await startFakeServer((call) => {
    if (call.method === 'GET') return { body: { status: 'healthy', model: 'fake', device: 'cpu' } };
    const { jpegs } = readBinaryRequest(call, Number(call.headers['inference-header-content-length']));
    const data = jpegs.map(() => JSON.stringify({ ...size, detections }));
    return { body: { model_name: 'fake', outputs: [{ name: 'detections', datatype: 'BYTES', data }] } };
  });
  return {
    s3: url,
    inference: { INFERENCE_SERVICE_URL: inference.url },
    /** Variables of a stack with its own topics, group and bucket. */
    environment() {
      const id = unique('given');
      return {
        KAFKA_BOOTSTRAP_SERVERS: inject('kafka'),
        KAFKA_TOPIC: `${id}-frames`,
        KAFKA_DETECTIONS_TOPIC: `${id}-detections`,
        KAFKA_EVENTS_TOPIC: `${id}-events`,
        KAFKA_GROUP_ID: id,
        AWS_ENDPOINT_URL: url,
        ...CREDENTIALS,
        S3_BUCKET: id,
      };
    },
    /** The first thousand keys of a bucket with a prefix. */
    async keys(bucket: string, prefix: string): Promise<string[]> {
      const client = connectS3(url, CREDENTIALS);
      const { Contents = [] } = await client.send(
        new ListObjectsV2Command({ Bucket: bucket, Prefix: prefix }),
      );
      client.destroy();
      return Contents.map(({ Key = '' }) => Key);
    },
    async stop() {
      await Promise.all([s3.stop(), inference.close()]);
    },
  };
}

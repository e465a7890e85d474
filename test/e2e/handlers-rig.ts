import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { DeleteObjectCommand, GetObjectCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3';
import { readConfig } from '@video-pipeline/config';
import { type Detection, type EncodedRecord, encodeFrame, type Frame } from '@video-pipeline/frame';
import {
  connectKafka,
  consumerLag,
  ensureTopics,
  KAFKA_VARIABLES,
  orderedProducer,
} from '@video-pipeline/kafka';
import { connectS3, ensureBucket } from '@video-pipeline/local';
import { s3Config } from '@video-pipeline/storage';
import { startFauxqs } from 'fauxqs';
import sharp from 'sharp';
import { inject } from 'vitest';
import { type FakeAnswer, readBinaryRequest, startFakeServer } from '../support/fake-server.ts';
import { unique } from '../support/unique.ts';

const MAIN = resolve(import.meta.dirname, '../../packages/event-source/src/main.ts');
export const SIZE = { width: 320, height: 240 };
export const PERSON = {
  class_id: 0,
  class_name: 'person',
  confidence: 0.9,
  bbox: [40, 60, 200, 180] as const,
};

type Stage = 'detect' | 'annotate' | 'notify' | 'clip';
export type Rig = Awaited<ReturnType<typeof startRig>>;

/** An S3 API with the bucket of the rig. */
interface S3 {
  settings: {
    AWS_ENDPOINT_URL: string;
    S3_BUCKET: string;
    AWS_ACCESS_KEY_ID: string;
    AWS_SECRET_ACCESS_KEY: string;
  };
  stop(): Promise<void>;
}

/** An S3 API in the memory of this process. */
async function startS3InMemory(): Promise<S3> {
  const s3 = await startFauxqs({ port: 0, host: '127.0.0.1', logger: false });
  const S3_BUCKET = 'video-pipeline-output';
  s3.createBucket(S3_BUCKET);
  const credentials = { AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' };
  const settings = { AWS_ENDPOINT_URL: `http://127.0.0.1:${s3.port}`, S3_BUCKET, ...credentials };
  return { settings, stop: () => s3.stop() };
}

/** The S3Proxy that all test files share. */
export async function openS3Proxy(): Promise<S3> {
  const { url, ...credentials } = inject('s3');
  const S3_BUCKET = unique('rig');
  const client = connectS3(url, credentials);
  await ensureBucket(client, S3_BUCKET);
  client.destroy();
  return { settings: { AWS_ENDPOINT_URL: url, S3_BUCKET, ...credentials }, stop: async () => {} };
}

/**
 * The shared Kafka, an S3 API, an inference server with faults that a test chooses, and the handlers as processes.
 * @param see the inference server's detections for a JPEG
 */
export async function startRig(
  see: (jpeg: Buffer) => Detection[] = () => [{ ...PERSON, bbox: [...PERSON.bbox] }],
  startS3: () => Promise<S3> = startS3InMemory,
) {
  const s3 = await startS3();
  const faults: FakeAnswer[] = [];
  const inference = await startFakeServer((call) => {
    if (call.path === '/health') return { body: { status: 'healthy', model: 'fake', device: 'cpu' } };
    const fault = faults.shift();
    if (fault) return fault;
    const { jpegs } = readBinaryRequest(call, Number(call.headers['inference-header-content-length']));
    const data = jpegs.map((jpeg) => JSON.stringify({ ...SIZE, detections: see(jpeg) }));
    return { body: { model_name: 'fake', outputs: [{ name: 'detections', datatype: 'BYTES', data }] } };
  });
  const environment = {
    ...process.env,
    KAFKA_BOOTSTRAP_SERVERS: inject('kafka'),
    INFERENCE_SERVICE_URL: inference.url,
    ...s3.settings,
  };
  const kafka = connectKafka('test', console, readConfig(KAFKA_VARIABLES, environment));
  const admin = kafka.admin();
  const producer = orderedProducer(kafka);
  await Promise.all([admin.connect(), producer.connect()]);
  const storage = readConfig(['S3_BUCKET', 'AWS_REGION', 'AWS_ENDPOINT_URL'], environment);
  const { S3_BUCKET: Bucket, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY } = s3.settings;
  const client = new S3Client({
    ...s3Config(storage),
    credentials: { accessKeyId: AWS_ACCESS_KEY_ID, secretAccessKey: AWS_SECRET_ACCESS_KEY },
  });
  const jpeg = await sharp({ create: { ...SIZE, channels: 3, background: 'grey' } })
    .jpeg()
    .toBuffer();
  const children: ChildProcess[] = [];

  const frame = (streamId: string, frameNumber: number): Frame => ({
    streamId,
    frameNumber,
    session: 'test',
    capturedAt: Date.UTC(2026, 10, 25, 7) + frameNumber * 100,
    ...SIZE,
    jpeg,
  });

  return {
    faults,
    s3Url: s3.settings.AWS_ENDPOINT_URL,
    frame,
    kafka,

    async createTopics(topics: string[], partitions = 2) {
      await ensureTopics(
        admin,
        topics.map((topic) => ({ topic, partitions })),
      );
    },

    async publish(topic: string, records: EncodedRecord[]) {
      await producer.send({ topic, messages: records });
    },

    /** Frames 0..count-1 of every stream, published in sends of ten. @returns the frames */
    async publishFrames(topic: string, streams: string[], count: number) {
      const frames = streams.flatMap((id) => Array.from({ length: count }, (_, index) => frame(id, index)));
      for (let at = 0; at < frames.length; at += 10) {
        const messages = frames.slice(at, at + 10).map(encodeFrame);
        await producer.send({ topic, messages });
      }
      return frames;
    },

    /** Runs a handler in a process of its own; resolves once it reads its topic. */
    async run(stage: Stage, topic: string, more: string[] = [], env: NodeJS.ProcessEnv = {}) {
      const args = [
        '--handler',
        `functions/src/${stage}.ts`,
        '--topic',
        topic,
        '--group',
        `${topic}-${stage}`,
      ];
      const child = startSource([...args, '--window', '0.2', ...more], { ...environment, ...env });
      children.push(child.process);
      await Promise.race([child.ready, child.ended.then((end) => Promise.reject(new Error(end.output)))]);
      return child;
    },

    /** Runs a handler that can not start, to its end. */
    runToEnd(args: string[], env: NodeJS.ProcessEnv = {}) {
      const child = startSource(args, { ...environment, ...env });
      children.push(child.process);
      return child.ended;
    },

    async lag(stage: Stage, topic: string, group = `${topic}-${stage}`): Promise<number> {
      const partitions = await consumerLag(admin, group, topic);
      return partitions.reduce((sum, { lag }) => sum + lag, 0);
    },

    async keys(prefix: string): Promise<string[]> {
      const keys: string[] = [];
      let token: string | undefined;
      do {
        const page = await client.send(
          new ListObjectsV2Command({ Bucket, Prefix: prefix, ContinuationToken: token }),
        );
        keys.push(...(page.Contents ?? []).map(({ Key = '' }) => Key));
        token = page.NextContinuationToken;
      } while (token);
      return keys.sort();
    },

    async read(key: string): Promise<Buffer> {
      const { Body } = await client.send(new GetObjectCommand({ Bucket, Key: key }));
      return Buffer.from((await Body?.transformToByteArray()) ?? []);
    },

    /** Ends the processes that this test started, and removes their files. The servers continue. */
    async reset() {
      for (const child of children.splice(0)) {
        if (child.exitCode !== null || child.signalCode !== null) continue;
        child.kill('SIGKILL');
        await once(child, 'exit');
      }
      faults.length = 0;
      for (const Key of await this.keys('')) await client.send(new DeleteObjectCommand({ Bucket, Key }));
    },

    async stop() {
      client.destroy();
      await Promise.all([admin.disconnect(), producer.disconnect()]);
      await Promise.all([inference.close(), s3.stop()]);
    },
  };
}

/** Starts the event source's command line. */
function startSource(args: string[], env: NodeJS.ProcessEnv) {
  const child = fork(MAIN, args, { env, stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
  let output = '';
  let errors = '';
  child.stdout?.on('data', (text) => {
    output += text;
  });
  child.stderr?.on('data', (text) => {
    output += text;
    errors += text;
  });
  const ready = once(child, 'message');
  const ended = once(child, 'close').then(([code, signal]) => ({
    code: code as number | null,
    signal: signal as string | null,
    output,
    errors,
  }));
  return { process: child, ready, ended };
}

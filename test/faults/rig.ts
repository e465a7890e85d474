import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, join, resolve } from 'node:path';
import { readConfig, type Value } from '@video-pipeline/config';
import type { EncodedRecord } from '@video-pipeline/frame';
import { connectKafka, consumerLag, ensureTopics, orderedProducer } from '@video-pipeline/kafka';
import { bucketFolder, connectS3, ensureBucket, freePort, startS3Proxy } from '@video-pipeline/local';
import { createReader, indexOfSegment } from '@video-pipeline/storage';
import { startChild } from '../../packages/local/src/supervisor/child.ts';
import { folderReader } from '../support/folder-reader.ts';
import { addCrowds, asksForDetections } from './answers.ts';
import { planBrokers } from './brokers.ts';
import { startFaultProxy } from './fault-proxy.ts';
import { startIngestHosts } from './ingest-hosts.ts';
import { MARK, writeModel } from './numbered.ts';
import { startProbe } from './probe.ts';
import { Service } from './service.ts';

export const FRAMES_TOPIC = 'video-frames';
export const DETECTIONS_TOPIC = 'detections';
/** Topic of real ingest hosts and of the probe. No stage reads it. */
export const INGEST_TOPIC = 'ingest-frames';
export const PREFIX = 'annotated';
/** With STORE=events: seconds kept before and after a marked frame. */
export const KEPT_SECONDS = 1;
const BUCKET = 'video-pipeline-output';
export const PARTITIONS = 4;
const REPOSITORY = resolve(import.meta.dirname, '../..');

/** A fault of a handler between its work and the commit: `hold` waits for its promise, `clock` shifts its clock, milliseconds. */
export type HandlerFault =
  | 'again'
  | 'throw'
  | 'hang'
  | 'die'
  | { hold: () => Promise<void> }
  | { clock: number };
export type StageName = 'detect' | 'annotate';
const TOPIC_OF = { detect: FRAMES_TOPIC, annotate: DETECTIONS_TOPIC };
export type Rig = Awaited<ReturnType<typeof startRig>>;

/** V8 collects garbage late (`expectLargeBuffers`). With few frames a second, that looks like a leak for half an hour. */
const COLLECT = '--expose-gc --import=data:text/javascript,setInterval(gc,20_000).unref()';

const CREDENTIALS = { AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' };

/**
 * Apache Kafka, S3Proxy on files, the model server and both handlers behind the event source: all real, each a process
 * of its own that is restarted when it ends, with fault proxies before the two that use HTTP.
 */
export async function startRig(options: {
  /** Folder of all data and logs. */
  folder: string;
  handlerTimeoutSeconds: number;
  /** Folder of Kafka's data. Default: within `folder`. */
  kafkaDir?: string;
  /** Number of Kafka nodes. Default: one. */
  brokers?: number;
  /** STORE of annotate. Default: `frames`. */
  store?: Value<'STORE'>;
  /** PICTURES. With `once`, detect includes annotate, and faults of annotate apply to detect. */
  pictures?: Value<'PICTURES'>;
  /** If it is set, memory is measured, and each Node process collects its garbage every 20 s. */
  rollingMinutes?: number;
}) {
  const { folder, store = 'frames', pictures = 'twice' } = options;
  const processOf = (name: StageName): StageName => (pictures === 'once' ? 'detect' : name);
  const [s3Port, modelPort] = [await freePort(), await freePort()];
  const kafkaNodes = await planBrokers(options.brokers ?? 1, folder, options.kafkaDir);
  const modelFile = join(folder, 'numbered.onnx');
  await writeModel(modelFile);
  const stored = new Map<string, number>();
  const wires = {
    model: await startFaultProxy(`http://127.0.0.1:${modelPort}`, {
      isTarget: (_method, path) => asksForDetections(path),
      onAnswer: addCrowds,
    }),
    s3: await startFaultProxy(`http://127.0.0.1:${s3Port}`, {
      isTarget: (method) => method === 'PUT',
      onAnswer({ path, body, answer }) {
        if (answer.status === 200 && FINISHED.test(path))
          for (const key of storedBy(decodeURIComponent(path.split('?')[0] ?? ''), body))
            stored.set(key, stored.get(key) ?? performance.now());
        return undefined;
      },
    }),
  };
  const faults: Record<StageName, HandlerFault[]> = { detect: [], annotate: [] };
  const faultServer = await startFaultServer(faults);
  const environment = {
    ...process.env,
    ...(options.rollingMinutes && { NODE_OPTIONS: `${process.env.NODE_OPTIONS ?? ''} ${COLLECT}` }),
    LOG_LEVEL: 'WARN',
    KAFKA_BOOTSTRAP_SERVERS: kafkaNodes.bootstrap,
    KAFKA_AUTH: 'none',
    KAFKA_TOPIC: FRAMES_TOPIC,
    KAFKA_DETECTIONS_TOPIC: DETECTIONS_TOPIC,
    INFERENCE_SERVICE_URL: wires.model.url,
    INFERENCE_TIMEOUT_SECONDS: '3',
    AWS_ENDPOINT_URL: wires.s3.url,
    ...CREDENTIALS,
    AWS_REGION: 'us-east-1',
    S3_BUCKET: BUCKET,
    S3_PREFIX: PREFIX,
    STORE: store,
    STORE_CLASSES: MARK,
    CLIP_BEFORE_SECONDS: String(KEPT_SECONDS),
    CLIP_AFTER_SECONDS: String(KEPT_SECONDS),
    PICTURES: pictures,
  };
  const node = (name: string, script: string, args: string[], env: NodeJS.ProcessEnv, stop: AbortSignal) =>
    startChild({
      name,
      stop,
      script: join(REPOSITORY, script),
      args,
      env,
      pidFile: join(folder, 'run', `${name}.pid`),
      logFile: join(folder, 'logs', `${name}.log`),
    });
  const stage = (name: StageName, processName: string = name) =>
    new Service((stop) => {
      const args = ['--handler', 'test/faults/handler.ts', '--topic', TOPIC_OF[name], '--group', name];
      const timeout = ['--timeout', String(options.handlerTimeoutSeconds)];
      return node(
        processName,
        'packages/event-source/src/main.ts',
        [...args, '--window', '0.3', ...timeout],
        {
          ...environment,
          FAULTS_HANDLER: `functions/src/${name}.ts`,
          FAULTS_URL: `${faultServer.url}/${name}`,
        },
        stop,
      );
    });
  const model = ['--model', modelFile, '--device', 'cpu', '--threads', '1', '--port', String(modelPort)];
  const detect = stage('detect');
  const annotate = pictures === 'once' ? detect : stage('annotate');
  const stages = [...new Set([detect, annotate])];
  const services = {
    s3: new Service((stop) =>
      startS3Proxy({ dataDir: folder, port: s3Port, credentials: CREDENTIALS, stop }),
    ),
    model: new Service((stop) => node('model', 'model/src/main.ts', model, environment, stop)),
    detect,
    annotate,
    compact: new Service((stop) => node('compact', 'test/faults/compactor.ts', [], environment, stop)),
  };
  const { brokers } = kafkaNodes;
  await Promise.all([...brokers, services.s3, services.model].map((service) => service.start()));

  const quiet = { warn() {}, error() {} };
  const kafka = connectKafka(
    'faults',
    quiet,
    readConfig(['KAFKA_BOOTSTRAP_SERVERS', 'KAFKA_AUTH', 'AWS_REGION'], environment),
  );
  const admin = kafka.admin();
  // One list of frames is sent at a time, until it is acknowledged.
  const producer = orderedProducer(kafka, { idempotent: true });
  await Promise.all([admin.connect(), producer.connect()]);
  const topics = [FRAMES_TOPIC, DETECTIONS_TOPIC, INGEST_TOPIC].map((topic) => ({
    topic,
    partitions: PARTITIONS,
  }));
  await ensureTopics(admin, topics);
  Object.assign(process.env, CREDENTIALS);
  const s3Url = `http://127.0.0.1:${s3Port}`;
  const s3 = connectS3(s3Url, CREDENTIALS);
  await ensureBucket(s3, BUCKET);
  s3.destroy();
  await Promise.all([...stages, services.compact].map((one) => one.start()));
  // Ingest runs only with a cluster.
  const ingest =
    options.brokers === 3 ? await startIngestHosts(folder, INGEST_TOPIC, environment) : undefined;
  const probe = options.brokers === 3 ? startProbe(kafka, INGEST_TOPIC) : undefined;

  const bucketFiles = bucketFolder(folder, BUCKET);
  const storage = { S3_BUCKET: BUCKET, AWS_REGION: 'us-east-1', AWS_ENDPOINT_URL: s3Url };
  return {
    kafka,
    services,
    brokers,
    cluster: kafkaNodes.over(admin),
    wires,
    ingestHosts: ingest?.hosts ?? [],
    /** Waits of frames for Kafka so far. */
    waits: probe?.waits ?? [],
    /** Ends the ingest hosts and the probe. @returns the numbers of published frames by `stream/session` */
    async stopIngest(): Promise<Map<string, number>> {
      return new Map([...((await ingest?.stop()) ?? []), ...((await probe?.stop()) ?? [])]);
    },
    /** The same bucket, read from the files of S3Proxy. */
    files: folderReader(bucketFiles),
    bucketFolder: bucketFiles,
    store,
    bucket: createReader(storage),
    /** Settings of the bucket, without the fault proxy. */
    storage,
    /** Number of annotated frames that S3 has acknowledged so far. It only sets the pace. */
    stored: () => stored.size,
    /** Time of `performance.now` when S3 first had a picture. */
    storedAt: (key: string) => stored.get(`/${BUCKET}/${key}`),

    /** A further process of a stage, which joins the group. */
    helper: (name: StageName, number = 1) => stage(processOf(name), `${name}-helper-${number}`),

    /** Injects a fault after the stage's next batch, before its commit. */
    injectFault(name: StageName, fault: HandlerFault): void {
      faults[processOf(name)].push(fault);
    },
    pendingFaults: () => faults.detect.length + faults.annotate.length,

    /**
     * Publishes in order, and retries after failures.
     * @returns milliseconds until Kafka has acknowledged the records
     */
    async publish(topic: string, messages: EncodedRecord[]): Promise<number> {
      const began = performance.now();
      await untilDone(() => producer.send({ topic, messages }));
      return performance.now() - began;
    },

    /** Number of records that the stages have not committed. */
    async lag(): Promise<number> {
      const groups = new Set([processOf('detect'), processOf('annotate')]);
      const lags = await Promise.all([...groups].map((name) => consumerLag(admin, name, TOPIC_OF[name])));
      return lags.flat().reduce((sum, { lag }) => sum + lag, 0);
    },

    /** Ends all processes in order. Their output stays in `folder`. */
    async stop(): Promise<void> {
      probe?.cancel();
      await Promise.all([...stages, services.compact, ingest].map((one) => one?.stop()));
      await Promise.all([admin.disconnect(), producer.disconnect()]);
      await Promise.all([...brokers, services.s3, services.model].map((service) => service.stop()));
      await Promise.all([wires.model.close(), wires.s3.close(), faultServer.close(), kafkaNodes.close()]);
    },
  };
}

const FINISHED = new RegExp(`/(${PREFIX}|detections)/`);

/**
 * Keys of the pictures that a PUT stores: the object, or those in an archive or a video segment. For an NDJSON, the keys of
 * pictures that are not stored.
 */
function storedBy(path: string, body: Buffer): string[] {
  if (path.endsWith('.ndjson')) {
    const lines = body.toString().trim().split('\n');
    const left = lines.filter((line) => line.endsWith('"picture":null}'));
    return left.map((line) => `/${BUCKET}/${JSON.parse(line).annotated_key}`);
  }
  if (path.endsWith('.mp4'))
    return indexOfSegment(body, path).frames.map((name) => `${dirname(path)}/${name.join('-')}.jpg`);
  if (!path.endsWith('.tar')) return [path];
  const names = body.toString('latin1').matchAll(/\d{13}-\d+\.jpg(?=\0)/g);
  return [...names].map(([name]) => `${dirname(path)}/${name}`);
}

const AGAIN_MS = 500;

async function untilDone(work: () => Promise<unknown>): Promise<void> {
  for (;;) {
    try {
      await work();
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }
}

/** A server from which the handlers request their next fault. */
async function startFaultServer(faults: Record<StageName, HandlerFault[]>) {
  const server = createServer(async ({ url }, response) => {
    const next = faults[(url ?? '').slice(1) as StageName].shift();
    if (typeof next === 'object' && 'hold' in next) await next.hold();
    if (typeof next === 'object' && 'clock' in next) response.end(`clock ${next.clock}`);
    else response.end(typeof next === 'string' ? next : '');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close() {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

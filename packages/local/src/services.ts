import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { CLIPS, fetchAsset } from '@video-pipeline/assets';
import { readConfig } from '@video-pipeline/config';
import { type PipelineStage, STAGES } from '@video-pipeline/stages';
import type { Backlog } from './backlog.ts';
import type { ExternalServers } from './external-servers.ts';
import { bucketFolder, ROOT } from './lightweight.ts';
import { buildModel } from './prepare.ts';
import { fallbackCredentials, localCredentials, s3Environment } from './servers/credentials.ts';
import { installJava, JARS } from './servers/java.ts';
import { planCluster, startKafka } from './servers/kafka.ts';
import { startS3Proxy } from './servers/s3proxy.ts';
import { areFinite, parseSources, type Source } from './sources.ts';
import type { Launcher } from './supervisor/launcher.ts';
import type { Ports } from './supervisor/ports.ts';
import { StartError, settleAll } from './supervisor/processes.ts';
import type { Service } from './supervisor/supervise.ts';

export interface StackOptions {
  /** Folder of everything that is written. */
  dataDir: string;
  /** Any free port instead of the usual ones. */
  autoPorts: boolean;
  /** Nodes of the Kafka that is started. */
  brokers: number;
  /** Left out: the list of STREAMS or STREAMS_FILE, otherwise three demo cameras. */
  sources?: Source[] | undefined;
  /** An ONNX file other than the default model. */
  model?: string | undefined;
  frameRate?: number | undefined;
  /** Whether frames are published. If not, the stack waits for another producer. */
  ingest: boolean;
  /** Whether the web page is served. */
  console: boolean;
  /** Whether a clip of each event is stored. Left out: as EVENT_CLIPS says. */
  clips?: boolean | undefined;
  /** Days for which pictures and clips are kept. Left out: for ever. */
  keepDays?: number | undefined;
  /** Publishes this many frames, then ends. */
  frames?: number | undefined;
}

/** What each part of a stack needs to start. */
export interface Context {
  options: StackOptions;
  external: ExternalServers;
  ports: Ports;
  launcher: Launcher;
  note: (line: string) => void;
  /** The cameras that the user names. Left out: the demo cameras. */
  named: readonly Source[] | undefined;
}

/** Address of Kafka, and the function that starts it. */
export async function planKafka({ options, external, ports, launcher, note }: Context) {
  const { dataDir, brokers } = options;
  if (external.kafka) {
    if (brokers > 1)
      throw new StartError('--brokers has no effect while KAFKA_BOOTSTRAP_SERVERS is set: unset one');
    return { bootstrap: external.kafka, start: async () => {} };
  }
  const nodes =
    brokers === 1 ? [{ name: 'kafka', port: ports.kafka }] : await planCluster(brokers, ports.kafka);
  const run = ({ name, ...node }: (typeof nodes)[number]) =>
    launcher.run(name, 'servers', (stop) => startKafka({ dataDir, ...node, note, stop }));
  return {
    bootstrap: nodes.map(({ port }) => `127.0.0.1:${port}`).join(),
    start: async () => {
      await installJava('Apache Kafka', JARS.kafka, note); // not in `run`: a stop does not wait for a download
      await settleAll(nodes.map(run));
    },
  };
}

/** @see https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html */
const BUCKET_NAME = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;

/** Address of the S3 API, and the function that starts it. */
export async function planS3({ options: { dataDir, keepDays }, external, ports, launcher, note }: Context) {
  const { S3_BUCKET, S3_PREFIX } = readConfig(['S3_BUCKET', 'S3_PREFIX']);
  if (external.s3) {
    if (keepDays)
      throw new StartError(
        '--keep-days has no effect while AWS_ENDPOINT_URL is set: set a lifecycle rule there',
      );
    const output = `${external.s3.replace(/\/$/, '')}/${S3_BUCKET}/${S3_PREFIX}`;
    return { url: external.s3, output, env: fallbackCredentials(), start: async () => {} };
  }
  const url = `http://127.0.0.1:${ports.s3}`;
  const env = s3Environment(url, await localCredentials(dataDir));
  if (!BUCKET_NAME.test(S3_BUCKET)) {
    throw new StartError(
      `S3_BUCKET=${S3_BUCKET} is not a bucket name: 3 to 63 lower-case letters, digits, '-' and '.'`,
    );
  }
  const bucket = bucketFolder(dataDir, S3_BUCKET);
  // The AWS SDK takes a quarter of a second to load.
  await mkdir(bucket, { recursive: true });
  const start = async () => {
    await installJava('S3Proxy', JARS.s3proxy, note);
    await launcher.run('s3proxy', 'servers', (stop) => startS3Proxy({ dataDir, port: ports.s3, note, stop }));
  };
  return { url, output: join(bucket, S3_PREFIX), env, start };
}

export async function runModel({
  options: { model },
  external,
  ports,
  launcher,
  note,
}: Context): Promise<void> {
  if (external.inference) {
    if (model) throw new StartError('--model has no effect while INFERENCE_SERVICE_URL is set: unset one');
    return;
  }
  if (!model) await buildModel(note);
  const args = ['--port', String(ports.model), ...(model ? ['--model', model] : [])];
  // As in its image, see model/entrypoint.sh.
  await launcher.node('model', 'model', 'model/src/main.ts', { args, semiSpaceMiB: 4 });
}

/** Address at which this process reaches servers that listen on HOST. */
export function localAddress(): string {
  const { HOST } = readConfig(['HOST']);
  if (['0.0.0.0', '::', 'localhost'].includes(HOST)) return '127.0.0.1';
  return HOST.includes(':') ? `[${HOST}]` : HOST;
}

/** The clips that the demo cameras play. None if the user names cameras. */
export async function clipsOf({ named, note }: Context): Promise<Source[]> {
  return named ? [] : parseSources(await fetchAsset(CLIPS, note), '/');
}

/** The user's cameras, or the demo cameras. */
export function sourcesOf({ named, ports }: Context, clips: readonly Source[]): readonly Source[] {
  const url = (id: string) => `rtsp://127.0.0.1:${ports.cameras}/${id}`;
  return named ?? clips.map(({ id }) => ({ id, url: url(id), finite: false }));
}

/** Starts the demo cameras, if there are any. */
export async function runCameras(
  { ports, launcher }: Context,
  fetched: Promise<readonly Source[]>,
): Promise<void> {
  const clips = await fetched;
  if (clips.length === 0) return;
  const args = ['--port', String(ports.cameras), ...clips.map(({ id, url }) => `${id}=${url}`)];
  await launcher.node('cameras', 'ends', 'packages/camera/src/main.ts', { args });
}

export function runStage(
  { launcher, options: { dataDir } }: Context,
  stage: PipelineStage,
  backlog: Backlog,
  env: NodeJS.ProcessEnv,
  servers: Promise<undefined>,
): Promise<Service> {
  const { topic, group } = backlog.consumer(stage);
  const notes = join(dataDir, 'run', 'in-progress');
  const handler = join(ROOT, stage.handler);
  const args = ['--handler', handler, '--topic', topic, '--group', group, '--notes', notes];
  const { METRICS_PORT: first } = readConfig(['METRICS_PORT']);
  const place = STAGES.findIndex(({ name }) => name === stage.name);
  const own = { ...env, ...(first && { METRICS_PORT: String(first + place) }) };
  const inputs = { args, env: own, begin: () => servers };
  return launcher.node(stage.name, 'stages', 'packages/event-source/src/main.ts', inputs);
}

/** Whether the number of frames is limited. Such a run needs no compactor: it ends before an hour is over. */
export function hasFrameLimit({ frames, sources }: StackOptions): boolean {
  return frames !== undefined || (sources !== undefined && areFinite(sources));
}

export function runCompact({ launcher }: Context, env: NodeJS.ProcessEnv): Promise<Service> {
  return launcher.node('compact', 'stages', 'packages/tables/src/main.ts', { env, inBackground: true });
}

export function runIngest(
  { options: { frames, frameRate, sources: given }, ports, launcher }: Context,
  sources: readonly Source[],
  backlog: Backlog,
  env: NodeJS.ProcessEnv,
  allowed: Promise<undefined>,
): Promise<Service> {
  let before: number | undefined;
  const missing = async () => {
    const published = await backlog.published();
    before ??= published;
    return (frames ?? 0) + before - published;
  };
  const own = {
    ...env,
    // The user's list gives the scenes. With --source, ingest reads only the streams named there.
    ...(given && !env.STREAMS_FILE
      ? { STREAMS: JSON.stringify(given.map(({ id, url }) => ({ id, url }))) }
      : {}),
    HEALTH_PORT: String(ports.health),
    ...(frameRate ? { FRAME_RATE: String(frameRate) } : {}),
  };
  const begin = async () => {
    await allowed;
    // After a crash, only the rest of the frames is missing.
    return frames ? { MAX_FRAMES: String(await missing()) } : undefined;
  };
  const isDone = async (saidSo: boolean) => (frames ? (await missing()) <= 0 : saidSo || areFinite(sources));
  return launcher.node('ingest', 'ends', 'ingest-host/src/main.ts', { env: own, begin }, isDone);
}

export function runConsole(
  { options, ports, launcher }: Context,
  env: NodeJS.ProcessEnv,
  allowed: Promise<undefined>,
): Promise<Service> {
  const ingest = options.ingest ? { INGEST_URL: `http://${localAddress()}:${ports.health}` } : {};
  const own = { ...env, ...ingest, CONSOLE_PORT: String(ports.console) };
  const inputs = { env: own, begin: () => allowed };
  return launcher.node('console', 'ends', 'packages/console/src/main.ts', inputs);
}

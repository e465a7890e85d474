import { join } from 'node:path';
import { CLIPS, fetchAsset } from '@video-pipeline/assets';
import { readConfig } from '@video-pipeline/config';
import { isWanted, type PipelineStage, STAGES } from '@video-pipeline/stages';
import { Backlog } from './backlog.ts';
import { type Given, givenServers } from './given.ts';
import { buildModel } from './prepare.ts';
import { fallbackCredentials, localCredentials } from './servers/credentials.ts';
import { planCluster, startKafka } from './servers/kafka.ts';
import { connectS3, ensureBucket, s3Environment, startS3Proxy } from './servers/s3proxy.ts';
import { endByThemselves, parseSources, type Source } from './sources.ts';
import { listedSources, streamsVariables } from './streams-file.ts';
import { Launcher, type LauncherHooks, ROOT } from './supervisor/launcher.ts';
import { choosePorts, type Ports } from './supervisor/ports.ts';
import { endLeftovers, StartError } from './supervisor/processes.ts';
import type { Service } from './supervisor/supervise.ts';

export interface StackOptions {
  /** Everything written lies under it. */
  dataDir: string;
  /** Any free port instead of the usual ones. */
  autoPorts: boolean;
  /** Nodes of our Kafka. */
  brokers: number;
  /** Left out: what STREAMS or STREAMS_FILE lists, else three demo cameras. */
  sources?: Source[] | undefined;
  /** An ONNX file other than the default model. */
  model?: string | undefined;
  frameRate?: number | undefined;
  /** Whether frames are published; else the stack waits for somebody who does. */
  ingest: boolean;
  /** Whether the web page is served. */
  console: boolean;
  /** Whether a clip of each event is stored; left out, as EVENT_CLIPS says. */
  clips?: boolean | undefined;
  /** Publish so many frames, then end. */
  frames?: number | undefined;
}

/** MAX_LATENCY_SECONDS where nobody sets it. */
const MAX_LATENCY_DEFAULT = 5;

/** Where the parts of the stack are. */
export interface Endpoints {
  kafka: string;
  s3: string;
  inference: string;
  health: string;
  /** Where annotated frames lie: a folder, or a bucket's address. */
  output: string;
  /** The web page; absent with `--no-console`. */
  console?: string;
}

/** The pipeline on one machine. Ingest is started apart, so that a backlog can be finished first; the console too, so that no frame waits for it. */
export interface Stack {
  endpoints: Endpoints;
  sources: readonly Source[];
  /** Whether they are our demo cameras. */
  isDemo: boolean;
  services: readonly Service[];
  backlog: Backlog;
  startIngest(): Promise<Service>;
  startConsole(): Promise<Service>;
  stop(): Promise<void>;
}

interface Context {
  options: StackOptions;
  given: Given;
  ports: Ports;
  launcher: Launcher;
  note: (line: string) => void;
  /** The cameras that the user names; left out: the demo's. */
  named: readonly Source[] | undefined;
}

/**
 * Starts all but ingest.
 * @throws StartError, AssetError, ConfigError; nothing runs then any more
 */
export async function startStack(options: StackOptions, hooks: LauncherHooks): Promise<Stack> {
  const { note } = hooks;
  await endLeftovers(join(options.dataDir, 'run'));
  const named = options.sources ?? (await listedSources(note));
  const given = await givenServers(note);
  const ports = await choosePorts(
    {
      kafka: !given.kafka,
      s3: !given.s3,
      model: !given.inference,
      cameras: !named,
      health: true,
      console: options.console,
    },
    options.autoPorts,
  );
  const launcher = new Launcher(options.dataDir, hooks);
  const context = { options, given, ports, launcher, note, named };
  try {
    const [kafka, s3, inference, sources] = await all([
      runKafka(context),
      runS3(context),
      runModel(context),
      runCameras(context),
    ]);
    const backlog = new Backlog(kafka);
    await backlog.createTopics();
    const env = {
      ...s3.env,
      ...(await streamsVariables(options.dataDir, sources)),
      KAFKA_BOOTSTRAP_SERVERS: kafka,
      INFERENCE_SERVICE_URL: inference,
      ...(options.clips ? { EVENT_CLIPS: 'on' } : {}),
      ...latencyVariables(),
    };
    const stages = STAGES.filter((stage) => isWanted(stage, { ...process.env, ...env }));
    await all([
      ...stages.map((stage) => runStage(context, stage, backlog, env)),
      ...(endsByItself(options) ? [] : [runCompact(context, env)]),
    ]);
    return {
      endpoints: {
        kafka,
        inference,
        s3: s3.url,
        output: s3.output,
        health: `http://${here()}:${ports.health}`,
        ...(options.console ? { console: `http://${here()}:${ports.console}` } : {}),
      },
      sources,
      isDemo: !named,
      services: launcher.services,
      backlog,
      startIngest: async () => runIngest(context, sources, backlog, env),
      startConsole: () => runConsole(context, env),
      async stop() {
        // Not one after the other: Kafka may not answer.
        await Promise.all([backlog.close(), launcher.stop()]);
      },
    };
  } catch (error) {
    await launcher.stop();
    throw error;
  }
}

/**
 * Somebody looks on: unless MAX_LATENCY_SECONDS says otherwise, a frame is to be stored within seconds, on however few
 * cores. Then a batch can't wait for long either: it waits twice, and is worked on twice.
 * @throws ConfigError
 */
function latencyVariables({ MAX_LATENCY_SECONDS, BATCH_TIMEOUT_SECONDS } = process.env): NodeJS.ProcessEnv {
  const given = { MAX_LATENCY_SECONDS: MAX_LATENCY_SECONDS || String(MAX_LATENCY_DEFAULT) };
  const { MAX_LATENCY_SECONDS: seconds } = readConfig(['MAX_LATENCY_SECONDS'], given);
  if (seconds === 0 || BATCH_TIMEOUT_SECONDS) return given;
  const { BATCH_TIMEOUT_SECONDS: usual } = readConfig(['BATCH_TIMEOUT_SECONDS'], {});
  return { ...given, BATCH_TIMEOUT_SECONDS: String(Math.min(usual, seconds / 4)) };
}

async function runKafka({ options, given, ports, launcher, note }: Context): Promise<string> {
  const { dataDir, brokers } = options;
  if (given.kafka) {
    if (brokers > 1)
      throw new StartError('--brokers has no effect while KAFKA_BOOTSTRAP_SERVERS is set: unset one');
    return given.kafka;
  }
  if (brokers === 1) {
    await launcher.run('kafka', 'servers', (stop) => startKafka({ dataDir, port: ports.kafka, note, stop }));
    return `127.0.0.1:${ports.kafka}`;
  }
  const nodes = await planCluster(brokers, ports.kafka);
  await all(
    nodes.map((node) =>
      launcher.run(node.name, 'servers', (stop) => startKafka({ dataDir, ...node, note, stop })),
    ),
  );
  return nodes.map(({ port }) => `127.0.0.1:${port}`).join();
}

async function runS3({ options: { dataDir }, given, ports, launcher, note }: Context) {
  const { S3_BUCKET, S3_PREFIX } = readConfig(['S3_BUCKET', 'S3_PREFIX']);
  if (given.s3) {
    const output = `${given.s3.replace(/\/$/, '')}/${S3_BUCKET}/${S3_PREFIX}`;
    return { url: given.s3, output, env: fallbackCredentials() };
  }
  await launcher.run('s3proxy', 'servers', (stop) => startS3Proxy({ dataDir, port: ports.s3, note, stop }));
  const url = `http://127.0.0.1:${ports.s3}`;
  const env = s3Environment(url, await localCredentials(dataDir));
  await ensureBucket(connectS3(url, env), S3_BUCKET);
  return { url, output: join(dataDir, 's3', S3_BUCKET, S3_PREFIX), env };
}

async function runModel({ options: { model }, given, ports, launcher, note }: Context): Promise<string> {
  if (given.inference) {
    if (model) throw new StartError('--model has no effect while INFERENCE_SERVICE_URL is set: unset one');
    return given.inference;
  }
  if (!model) await buildModel(note);
  const args = ['--port', String(ports.model), ...(model ? ['--model', model] : [])];
  await launcher.node('model', 'model', 'model/src/main.ts', () => ({ args }));
  return `http://${here()}:${ports.model}`;
}

/** Where we reach what listens on HOST. */
function here(): string {
  const { HOST } = readConfig(['HOST']);
  if (['0.0.0.0', '::', 'localhost'].includes(HOST)) return '127.0.0.1';
  return HOST.includes(':') ? `[${HOST}]` : HOST;
}

async function runCameras({ named, ports, launcher, note }: Context): Promise<readonly Source[]> {
  if (named) return named;
  const clips = parseSources(await fetchAsset(CLIPS, note), '/');
  const args = ['--port', String(ports.cameras), ...clips.map(({ id, url }) => `${id}=${url}`)];
  await launcher.node('cameras', 'ends', 'packages/camera/src/main.ts', () => ({ args }));
  return clips.map(({ id }) => ({ id, url: `rtsp://127.0.0.1:${ports.cameras}/${id}`, finite: false }));
}

function runStage(
  { launcher, options: { dataDir } }: Context,
  stage: PipelineStage,
  backlog: Backlog,
  env: NodeJS.ProcessEnv,
): Promise<Service> {
  const { topic, group } = backlog.consumer(stage);
  const notes = join(dataDir, 'run', 'in-progress');
  const handler = join(ROOT, stage.handler);
  const args = ['--handler', handler, '--topic', topic, '--group', group, '--notes', notes];
  const { METRICS_PORT: first } = readConfig(['METRICS_PORT']);
  const place = STAGES.findIndex(({ name }) => name === stage.name);
  const own = { ...env, ...(first && { METRICS_PORT: String(first + place) }) };
  return launcher.node(stage.name, 'stages', 'packages/event-source/src/main.ts', () => ({ args, env: own }));
}

/** Whether a run ends by itself: no hour is over before it is. */
export function endsByItself({ frames, sources }: StackOptions): boolean {
  return frames !== undefined || (sources !== undefined && endByThemselves(sources));
}

function runCompact({ launcher }: Context, env: NodeJS.ProcessEnv): Promise<Service> {
  return launcher.node('compact', 'stages', 'packages/tables/src/main.ts', () => ({ env }));
}

async function runIngest(
  { options: { frames, frameRate, sources: asked }, ports, launcher }: Context,
  sources: readonly Source[],
  backlog: Backlog,
  env: NodeJS.ProcessEnv,
): Promise<Service> {
  const before = await backlog.published();
  const missing = async () => (frames ?? 0) + before - (await backlog.published());
  const own = {
    ...env,
    // A list of the user's says what their pictures mean; what is asked for by --source is what is read.
    ...(asked && !env.STREAMS_FILE
      ? { STREAMS: JSON.stringify(asked.map(({ id, url }) => ({ id, url }))) }
      : {}),
    HEALTH_PORT: String(ports.health),
    ...(frameRate ? { FRAME_RATE: String(frameRate) } : {}),
  };
  return launcher.node(
    'ingest',
    'ends',
    'ingest-host/src/main.ts',
    // Started again after a crash, it owes only the rest.
    async () => ({ env: { ...own, ...(frames ? { MAX_FRAMES: String(await missing()) } : {}) } }),
    async (saidSo) => (frames ? (await missing()) <= 0 : saidSo || endByThemselves(sources)),
  );
}

function runConsole({ options, ports, launcher }: Context, env: NodeJS.ProcessEnv): Promise<Service> {
  const ingest = options.ingest ? { INGEST_URL: `http://${here()}:${ports.health}` } : {};
  const own = { ...env, ...ingest, CONSOLE_PORT: String(ports.console) };
  return launcher.node('console', 'ends', 'packages/console/src/main.ts', () => ({ env: own }));
}

type AwaitedAll<T extends readonly unknown[]> = { -readonly [K in keyof T]: Awaited<T[K]> };

/** Waits for all, and then throws the first error: what still starts must be there before it can be stopped. */
async function all<T extends readonly unknown[] | []>(work: T): Promise<AwaitedAll<T>> {
  await Promise.allSettled(work);
  return Promise.all(work);
}

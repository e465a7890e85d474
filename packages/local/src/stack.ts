import { join } from 'node:path';
import { readConfig } from '@video-pipeline/config';
import { isEnabled, STAGES } from '@video-pipeline/stages';
import { Backlog } from './backlog.ts';
import { findExternalServers } from './external-servers.ts';
import {
  type Context,
  clipsOf,
  hasFrameLimit,
  localAddress,
  planKafka,
  planS3,
  runCameras,
  runCompact,
  runConsole,
  runIngest,
  runModel,
  runStage,
  type StackOptions,
  sourcesOf,
} from './services.ts';
import type { Source } from './sources.ts';
import { listedSources, streamsVariables } from './streams-file.ts';
import { Launcher, type LauncherHooks } from './supervisor/launcher.ts';
import { choosePorts } from './supervisor/ports.ts';
import { aborted, endOrphans, StartError, settleAll } from './supervisor/processes.ts';
import type { Service } from './supervisor/supervise.ts';

/** MAX_LATENCY_SECONDS of a local stack, unless it is set. */
const MAX_LATENCY_DEFAULT = 5;

export interface Endpoints {
  kafka: string;
  s3: string;
  inference: string;
  health: string;
  /** Where annotated frames are stored: a folder, or a bucket's address. */
  output: string;
  /** The web page; absent with `--no-console`. */
  console?: string;
}

/**
 * The pipeline on one machine. Ingest is started separately, so that the backlog of an earlier run can be finished
 * first. So is the console, so that no frame waits for it. The stages join their consumer groups meanwhile.
 */
export interface Stack {
  endpoints: Endpoints;
  sources: readonly Source[];
  /** Whether the sources are the demo cameras. */
  isDemo: boolean;
  services: readonly Service[];
  backlog: Backlog;
  /** Resolves once the stages read; rejects with StartError. */
  stagesUp: Promise<unknown>;
  /** Absent if the run has a limited length. Started last: it has nothing to do before an hour is over. */
  startCompactor: (() => Promise<Service>) | undefined;
  /** Absent if nothing is published. */
  startIngest: (() => Promise<Service>) | undefined;
  /** Absent if no web page is served. */
  startConsole: (() => Promise<Service>) | undefined;
  stop(): Promise<void>;
}

/**
 * Starts everything. Ingest and the console load their modules, and wait until they are told to begin.
 * @param signal ends the start
 * @throws StartError, AssetError, ConfigError; nothing runs any more then
 */
export async function startStack(
  options: StackOptions,
  hooks: LauncherHooks,
  signal: AbortSignal,
): Promise<Stack> {
  const launcher = new Launcher(options.dataDir, hooks);
  const stopped = aborted(signal).then(() => {
    throw new StartError('stopped before it had started');
  });
  stopped.catch(() => {}); // a stop after the start is the session's
  try {
    return await Promise.race([begin(options, launcher, hooks.note), stopped]);
  } catch (error) {
    await launcher.stop();
    throw error;
  }
}

async function begin(
  options: StackOptions,
  launcher: Launcher,
  note: (line: string) => void,
): Promise<Stack> {
  await endOrphans(join(options.dataDir, 'run'));
  const named = options.sources ?? (await listedSources(note));
  const external = await findExternalServers(note);
  const needed = {
    kafka: !external.kafka,
    s3: !external.s3,
    model: !external.inference,
    cameras: !named,
    health: true,
    console: options.console,
  };
  const ports = await choosePorts(needed, options.autoPorts);
  return startAll({ options, external, ports, launcher, note, named });
}

/** Starts all parts at once. A part that needs another gets its address, loads, and begins when the other is up. */
async function startAll(context: Context): Promise<Stack> {
  const { options, ports, launcher } = context;
  const [kafka, s3] = [await planKafka(context), await planS3(context)];
  const inference = context.external.inference ?? `http://${localAddress()}:${ports.model}`;
  const backlog = new Backlog(kafka.bootstrap);
  const clips = clipsOf(context);
  const list = clips.then((those) => sourcesOf(context, those));
  const environment = list.then(async (sources) => ({
    ...s3.env,
    ...(await streamsVariables(options.dataDir, sources, hasFrameLimit(options))),
    KAFKA_BOOTSTRAP_SERVERS: kafka.bootstrap,
    INFERENCE_SERVICE_URL: inference,
    ...(options.clips ? { EVENT_CLIPS: 'on' } : {}),
    ...latencyVariables(),
  }));
  const ready = settleAll([kafka.start().then(() => backlog.createTopics()), s3.start()]);
  const servers = ready.then(() => undefined);
  const stagesUp = environment.then((env) => {
    const wanted = STAGES.filter((stage) => isEnabled(stage, { ...process.env, ...env }));
    return settleAll(wanted.map((stage) => runStage(context, stage, backlog, env, servers)));
  });
  stagesUp.catch(() => {}); // the session gets the error
  const startIngest = onDemand(options.ingest, async (allowed) =>
    runIngest(context, await list, backlog, await environment, allowed),
  );
  const startConsole = onDemand(options.console, async (allowed) =>
    runConsole(context, await environment, allowed),
  );
  const [sources] = await settleAll([list, servers, runModel(context), runCameras(context, clips)]);
  return {
    endpoints: {
      kafka: kafka.bootstrap,
      inference,
      s3: s3.url,
      output: s3.output,
      health: `http://${localAddress()}:${ports.health}`,
      ...(options.console ? { console: `http://${localAddress()}:${ports.console}` } : {}),
    },
    sources,
    isDemo: !context.named,
    services: launcher.services,
    backlog,
    stagesUp,
    startCompactor: hasFrameLimit(options) ? undefined : async () => runCompact(context, await environment),
    startIngest,
    startConsole,
    async stop() {
      // In parallel, since Kafka may not answer.
      await Promise.all([backlog.close(), launcher.stop()]);
    },
  };
}

/** Starts something that loads now, and begins its work when the returned function is called. */
function onDemand<Made>(isEnabled: boolean, start: (allowed: Promise<undefined>) => Promise<Made>) {
  if (!isEnabled) return undefined;
  const allowed = Promise.withResolvers<undefined>();
  const started = start(allowed.promise);
  started.catch(() => {}); // the caller gets the error
  return () => {
    allowed.resolve(undefined);
    return started;
  };
}

/**
 * Limits the latency of a local stack, since somebody watches it. Unless MAX_LATENCY_SECONDS is set, a frame should be
 * stored within seconds, on any number of cores. Then a batch must not wait for long either: it waits once for each of
 * the two stages, and is processed twice.
 * @throws ConfigError
 */
function latencyVariables({ MAX_LATENCY_SECONDS, BATCH_TIMEOUT_SECONDS } = process.env): NodeJS.ProcessEnv {
  const given = { MAX_LATENCY_SECONDS: MAX_LATENCY_SECONDS || String(MAX_LATENCY_DEFAULT) };
  const { MAX_LATENCY_SECONDS: seconds } = readConfig(['MAX_LATENCY_SECONDS'], given);
  if (seconds === 0 || BATCH_TIMEOUT_SECONDS) return given;
  const { BATCH_TIMEOUT_SECONDS: usual } = readConfig(['BATCH_TIMEOUT_SECONDS'], {});
  return { ...given, BATCH_TIMEOUT_SECONDS: String(Math.min(usual, seconds / 20)) };
}

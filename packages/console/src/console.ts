import { type Config, ConfigError, readConfig } from '@video-pipeline/config';
import { createOrigin, isLoopback, serveMetrics } from '@video-pipeline/http';
import { connectKafka, createTail, KAFKA_VARIABLES, orderedProducer, SILENT } from '@video-pipeline/kafka';
import { SPARSE_FRAMES_MS } from '@video-pipeline/scene';
import {
  CLIP_VARIABLES,
  createStore,
  followText,
  isObjectUrl,
  STORAGE_VARIABLES,
} from '@video-pipeline/storage';
import { Tables } from '@video-pipeline/tables';
import { type Logger, messageOf, rateOf } from '@video-pipeline/telemetry';
import { createAccess } from './access.ts';
import { openArchiveBucket } from './bucket.ts';
import { followDetections } from './detections-feed.ts';
import { sendEvents } from './events.ts';
import { putBack } from './failed.ts';
import { addGuard } from './guard.ts';
import { LiveFrames } from './live.ts';
import { consoleMetrics } from './metrics.ts';
import { inferenceUrlOf, MONITOR_VARIABLES, startMonitor } from './monitor.ts';
import { loadPage } from './page-files.ts';
import { keepReviews } from './reviews.ts';
import { addRoutes } from './routes.ts';
import { sceneEvents } from './scene-events.ts';
import { createServer } from './server.ts';
import { streamStatuses } from './stream-statuses.ts';
import { StreamsFile } from './streams-file.ts';

const CONSOLE_VARIABLES = [
  ...KAFKA_VARIABLES,
  ...STORAGE_VARIABLES,
  ...CLIP_VARIABLES,
  ...MONITOR_VARIABLES,
  'STREAMS',
  'STREAMS_FILE',
  'CONSOLE_URL',
  'STORE',
  'STORE_CLASSES',
  'DRAW_BOXES',
] as const;

export interface ConsoleServer {
  url: string;
  close(): Promise<void>;
}

/** How often a list of streams in a bucket is read, milliseconds. Such a list is shown, and can't be changed. */
const LIST_EVERY_MS = 30_000;

function followStreams(url: string, settings: Config<'AWS_REGION' | 'AWS_ENDPOINT_URL'>, log: Logger) {
  const onError = (error: Error) => log.warn('the list of streams cannot be read', error);
  const text = followText(url, settings, { everyMs: 0, onError });
  const config = { STREAMS: undefined as string | undefined, STREAMS_FILE: undefined };
  const read = () =>
    text().then((now) => {
      config.STREAMS = now;
    }, onError);
  void read();
  const timer = setInterval(read, LIST_EVERY_MS).unref();
  return { config, stop: () => clearInterval(timer) };
}

/**
 * Serves the console. It starts before Kafka and S3 are up, and stays up when they fail. The page shows that.
 * @param options.port 0: a free port
 * @param options.host an address that isn't loopback requires a token, as does CONSOLE_URL
 * @throws ConfigError; also if others could reach the console without a token
 * @example
 * const { url, close } = await startConsole({ port: 0, host: '127.0.0.1', log: createLogger('console') });
 */
export async function startConsole(options: {
  port: number;
  host: string;
  token?: string | undefined;
  log: Logger;
  env?: NodeJS.ProcessEnv;
}): Promise<ConsoleServer> {
  const { port, host, token, log } = options;
  const config = readConfig(CONSOLE_VARIABLES, options.env);
  if (!token && (config.CONSOLE_URL || !isLoopback(host))) {
    const where = config.CONSOLE_URL ?? host;
    const instead = 'or leave --host and CONSOLE_URL out';
    throw new ConfigError(`others can reach ${where}: give CONSOLE_TOKEN or CONSOLE_TOKEN_FILE, ${instead}`);
  }
  // The monitor reports the start and the end of an outage.
  const kafka = connectKafka('console', SILENT, config, { connectionTimeout: 2_000, retry: { retries: 1 } });
  const bucket = openArchiveBucket(config);
  const list = isObjectUrl(config.STREAMS_FILE) ? followStreams(config.STREAMS_FILE, config, log) : undefined;
  const streamsFile = new StreamsFile(list ? list.config : config);
  const live = new LiveFrames({ isListed: (streamId) => streamsFile.ids()?.has(streamId) === true });
  const lowRates = () => {
    const intervals = streamsFile.tracked().map((id) => [id, live.intervalMs(id)] as const);
    const low = intervals.filter(([, interval]) => interval >= SPARSE_FRAMES_MS);
    return Object.fromEntries(low.map(([id, interval]) => [id, rateOf(interval)]));
  };
  const monitor = startMonitor({ kafka, bucket, live, lowRates, config, log, env: options.env });
  const tail = createTail(kafka);
  const stopFeed = followDetections({
    kafka,
    read: (positions) => tail.at(positions),
    topic: config.KAFKA_DETECTIONS_TOPIC,
    group: `${config.KAFKA_GROUP_ID}-console`,
    onFrame: (frame, detectedAt) => live.add(frame, detectedAt),
    onError: (error) => log.debug('detections can not be followed', error),
  });
  const producer = orderedProducer(kafka);
  const streams = () => streamStatuses(streamsFile.streams(), live.streams(), monitor.cameras);
  const events = sendEvents(live, () => monitor.health(), streams);
  const page = loadPage();
  const access = createAccess(token);
  const origin = createOrigin(host, config.CONSOLE_URL);
  const app = createServer(origin.prefix, (error, path) =>
    log.error(`can't answer ${path}: ${error.name}: ${messageOf(error)}`),
  );
  const tables = new Tables(bucket);
  addGuard(app, access, origin, page);
  const metrics = consoleMetrics(monitor, live, events.followers);
  serveMetrics(app, metrics);
  addRoutes(app, {
    page,
    access,
    origin,
    live,
    tables,
    bucket,
    events,
    reviews: keepReviews(bucket, createStore(config)),
    sceneEvents: sceneEvents(tail, config.KAFKA_EVENTS_TOPIC),
    streamsFile,
    inferenceUrl: inferenceUrlOf(config, options.env),
    prefix: config.S3_PREFIX,
    clipSettings: config,
    keeping: config,
    drawn: config.DRAW_BOXES === 'on',
    flow: monitor.flow,
    redrive: async (key) => {
      await putBack(key, bucket, producer, config);
      log.info('put a failed record back', { key });
    },
    recountFailed: monitor.recountFailed,
    log,
  });
  return {
    url: await app.listen({ port, host }),
    async close() {
      events.close();
      await Promise.allSettled([
        app.close(),
        stopFeed(),
        monitor.close(),
        tables.close(),
        producer.disconnect(),
        tail.close(),
      ]);
      bucket.close();
      list?.stop();
    },
  };
}

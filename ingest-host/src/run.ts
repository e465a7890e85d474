import { unwatchFile, watchFile } from 'node:fs';
import { type Config, ConfigError, readConfig, readStreamsText, streamsFileOf } from '@video-pipeline/config';
import { connectKafka, KAFKA_VARIABLES, orderedProducer, ownRack } from '@video-pipeline/kafka';
import { expectLargeBuffers, onShutdown, reportFinished, reportReady } from '@video-pipeline/lifecycle';
import { STAGE_VARIABLES } from '@video-pipeline/stages';
import { createLogger, flushTraces, lowRateNote } from '@video-pipeline/telemetry';
import { createMetrics, startHealthServer } from './health.ts';
import { Ingest } from './ingest.ts';
import { kafkaSend } from './kafka-send.ts';
import { watchPipeline } from './pipeline-watch.ts';
import { metricsReporter } from './report.ts';
import { startRestream } from './restream.ts';
import { parseStreams, type StreamSpecs } from './streams.ts';
import { Thinning } from './thinning.ts';

const VARIABLES = [
  ...STAGE_VARIABLES,
  'KAFKA_RACK',
  'STREAMS',
  'STREAMS_FILE',
  'FRAME_RATE',
  'JPEG_QUALITY',
  'MAX_FRAME_BYTES',
  'MOTION_THRESHOLD',
  'MOTION_KEEPALIVE_SECONDS',
  'BUFFER_SECONDS',
  'BUFFER_BYTES',
  'STALL_SECONDS',
  'MAX_FRAMES',
  'MAX_LATENCY_SECONDS',
  'MIN_FRAME_RATE',
  'BATCH_SIZE',
  'BATCH_TIMEOUT_SECONDS',
  'HEALTH_PORT',
  'RESTREAM_PORT',
  'RESTREAM_USER',
  'HOST',
] as const;

/** Longest wait for Kafka to accept the queued frames at shutdown, milliseconds. */
const FLUSH_MS = 2_500;
const WATCH_INTERVAL_MS = 500;
/** A streams file is read once it has not changed for this long: an incomplete list would stop the missing streams. */
const WRITTEN_MS = 1_000;
/** Short, since a failed send is retried anyway. So a broker or a topic that comes back is found soon. */
const KAFKA_RETRY = { initialRetryTime: 200, maxRetryTime: 1_000, retries: 3 };
/** Each camera occupies one thread of libuv's pool while it is read. Decoding, encoding and DNS need threads too. */
const OTHER_THREADS = 16;
/** Threads beyond those of the first cameras: the other ones, and those of cameras added later. libuv adds none. */
const SPARE_THREADS = 64;

/**
 * Runs the ingest host, configured by the environment, until its streams end or a signal stops the process.
 * @throws ConfigError, StreamsError
 */
export async function runIngest(env: NodeJS.ProcessEnv = process.env): Promise<void> {
  expectLargeBuffers();
  const config = readConfig(VARIABLES, env);
  const { specs, problems, lowRates } = readStreams(config);
  // libuv reads this variable when its first task is queued: after this line.
  process.env.UV_THREADPOOL_SIZE ??= String(specs.length + SPARE_THREADS);

  const log = createLogger('ingest');
  const lowRate = lowRateNote(lowRates);
  if (lowRate) log.warn(lowRate);
  const kafka = connectKafka('ingest', log, readConfig(KAFKA_VARIABLES, env), { retry: KAFKA_RETRY });
  const producer = orderedProducer(kafka, { idempotent: true, rack: await ownRack(config.KAFKA_RACK, log) });
  // Connects while the cameras open. If that fails, the first send connects again.
  void producer.connect().catch(() => {});
  const { send, laneOf } = kafkaSend(producer, config.KAFKA_TOPIC);
  const thinning = thinningOf(config);
  const { HOST, RESTREAM_PORT, RESTREAM_USER } = config;
  const restream =
    RESTREAM_PORT === undefined ? undefined : await startRestream(HOST, RESTREAM_PORT, RESTREAM_USER);
  const ingest = new Ingest(send, {
    laneOf,
    maxFrameBytes: config.MAX_FRAME_BYTES,
    bufferSeconds: config.BUFFER_SECONDS,
    bufferBytes: config.BUFFER_BYTES,
    stallSeconds: config.STALL_SECONDS,
    ...(config.MAX_FRAMES === undefined ? {} : { maxFrames: config.MAX_FRAMES }),
    awaitsStreams: streamsFileOf(config) !== undefined,
    ...(thinning ? { thinning } : {}),
    ...(restream ? { restream } : {}),
    log,
    onPublished: (frames, milliseconds) => metrics.observe(frames, milliseconds),
  });
  const metrics = createMetrics(ingest);
  const address = { host: HOST, port: config.HEALTH_PORT };
  const health = await startHealthServer(address, ingest.stats, metrics.registry);
  const report = metricsReporter(ingest.stats, ingest.session);
  const timer = setInterval(report, 1000);

  const stopWatching = onStreamsChange(streamsFileOf(config), () => {
    try {
      const { specs, problems } = readStreams(config);
      void ingest.reload(specs, problems);
      log.info('streams read again');
      if (specs.length + OTHER_THREADS > Number(process.env.UV_THREADPOOL_SIZE))
        log.warn('restart ingest: these are more cameras than it has threads for');
    } catch (error) {
      log.error("the new streams can't be used: the former ones stay in use", error as Error);
    }
  });
  const stopping = new AbortController();
  if (thinning) void watchPipeline(kafka, thinning, { config, log, signal: stopping.signal });
  const shutdown = onShutdown(async () => {
    stopping.abort();
    stopWatching();
    await ingest.stop(FLUSH_MS);
    clearInterval(timer);
    report();
    await Promise.all([health.close(), restream?.close(), flushTraces()]);
    // A broker that is away must not delay the end of the process.
    await Promise.race([producer.disconnect(), new Promise((resolve) => setTimeout(resolve, 500))]);
  }, log);
  if (restream) log.info('cameras are served over RTSP', { url: `${restream.url}/<stream>` });
  reportReady({ url: health.url });
  await ingest.run(specs, problems);
  // A run that a signal stopped is not finished: its supervisor starts it again.
  if (!stopping.signal.aborted) reportFinished();
  const failed = [...ingest.stats].filter(([, { state }]) => state === 'failed');
  for (const [stream, { lastError }] of failed) log.error('stream failed', { stream, error: lastError });
  // A stream without any frame is a failure of the run.
  if (failed.length > 0) process.exitCode = 1;
  await shutdown();
}

function thinningOf(config: Config<(typeof VARIABLES)[number]>): Thinning | undefined {
  if (config.MAX_LATENCY_SECONDS === 0) return undefined;
  return new Thinning({
    maxLatencySeconds: config.MAX_LATENCY_SECONDS,
    minFrameRate: config.MIN_FRAME_RATE,
    batchSize: config.BATCH_SIZE,
    batchSeconds: config.BATCH_TIMEOUT_SECONDS,
  });
}

/** Calls `reload` on SIGHUP, and when `file`, if there is one, changes. @returns a function that ends the watch */
function onStreamsChange(file: string | undefined, reload: () => void): () => void {
  // Also without a file: an unhandled SIGHUP would end the process.
  process.on('SIGHUP', reload);
  let timer: NodeJS.Timeout | undefined;
  const settle = () => {
    clearTimeout(timer);
    timer = setTimeout(reload, WRITTEN_MS);
  };
  // Polled: a mounted configuration changes when a link is replaced, which a watch of the file would not notice.
  if (file) watchFile(file, { interval: WATCH_INTERVAL_MS }, settle);
  return () => {
    clearTimeout(timer);
    process.off('SIGHUP', reload);
    if (file) unwatchFile(file, settle);
  };
}

/** @throws ConfigError when no streams are configured, StreamsError when none of them is valid */
function readStreams(config: Config<(typeof VARIABLES)[number]>): StreamSpecs {
  const streams = readStreamsText(config);
  if (!streams) throw new ConfigError('STREAMS or STREAMS_FILE must name the cameras');
  const defaults = {
    frameRate: config.FRAME_RATE,
    quality: config.JPEG_QUALITY,
    motion: { threshold: config.MOTION_THRESHOLD, keepaliveSeconds: config.MOTION_KEEPALIVE_SECONDS },
  };
  return parseStreams(streams.text, defaults, streams.where);
}

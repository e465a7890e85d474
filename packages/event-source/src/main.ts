import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Config, readConfig } from '@video-pipeline/config';
import { claimedStream, POLLER } from '@video-pipeline/frame';
import { connectKafka, KAFKA_VARIABLES, ownRack } from '@video-pipeline/kafka';
import {
  exitWithError,
  expectLargeBuffers,
  onShutdown,
  reportReady,
  waitForParent,
} from '@video-pipeline/lifecycle';
import { numberThat } from '@video-pipeline/lifecycle/parse-number';
import {
  createPutFailed,
  createStore,
  type PutFailed,
  STORAGE_VARIABLES,
  type StorageSettings,
} from '@video-pipeline/storage';
import { createLogger, emitFailures, emitMetrics, flushTraces } from '@video-pipeline/telemetry';
import { Command, InvalidArgumentError } from 'commander';
import { InFlightRecords, NOTES_FOLDER } from './in-flight.ts';
import {
  type EventSource,
  type Handler,
  KAFKA_RETRY,
  startEventSource,
  toFailedRecords,
  toS3Destination,
} from './index.ts';

interface Options {
  handler: string;
  topic: string;
  group: string;
  batchSize: number;
  window: number;
  concurrency: number;
  timeout: number;
  onFailure?: { bucket: string; prefix: string };
  maxRetries: number;
  maxAge?: number;
  notes: string;
}

await main().catch(exitWithError);

async function main(): Promise<void> {
  const config = readConfig([
    ...KAFKA_VARIABLES,
    ...STORAGE_VARIABLES,
    'BATCH_SIZE',
    'BATCH_TIMEOUT_SECONDS',
    'HOST',
    'KAFKA_RACK',
    'METRICS_PORT',
  ]);
  const options = readOptions(config);
  const handler = await loadHandler(options.handler);
  await waitForParent();
  const logger = createLogger(POLLER);
  const inFlight = new InFlightRecords(options.notes, options.group, config.KAFKA_BOOTSTRAP_SERVERS);
  let source: EventSource | undefined;
  const { HOST: host, METRICS_PORT: port } = config;
  // Loaded on demand: the server's modules are a quarter of all that a stage loads.
  const metrics =
    port === undefined ? undefined : await (await import('./metrics.ts')).serveStageMetrics({ host, port });
  expectLargeBuffers();
  onShutdown(async () => {
    await source?.stop();
    await Promise.all([metrics?.close(), flushTraces()]);
  }, logger);
  source = await startEventSource({
    kafka: connectKafka(options.group, logger, config, { retry: KAFKA_RETRY }),
    topic: options.topic,
    groupId: options.group,
    rack: await ownRack(config.KAFKA_RACK, logger),
    handler,
    functionName: options.handler,
    timeoutMs: options.timeout * 1000,
    source: {
      eventSourceArn: `arn:aws:kafka:${config.AWS_REGION}:000000000000:cluster/local`,
      bootstrapServers: config.KAFKA_BOOTSTRAP_SERVERS,
    },
    batchSize: options.batchSize,
    windowMs: options.window * 1000,
    concurrency: options.concurrency,
    ...onFailure(options, config),
    inFlight,
    logger,
    onCrash(error) {
      inFlight.close();
      exitWithError(error);
    },
  });
  reportReady(metrics && { url: metrics.url });
}

function readOptions(defaults: Config<'BATCH_SIZE' | 'BATCH_TIMEOUT_SECONDS'>): Options {
  const { BATCH_SIZE, BATCH_TIMEOUT_SECONDS: window } = defaults;
  return new Command(POLLER)
    .description('Runs a Lambda handler on a Kafka topic as an Amazon MSK event-source mapping does.')
    .requiredOption('--handler <file>', 'module that exports `handler`')
    .requiredOption('--topic <name>', 'topic to read')
    .requiredOption('--group <id>', 'consumer group')
    .option('--batch-size <records>', 'records in one invocation, at most', number(1, 10_000), BATCH_SIZE)
    .option('--window <seconds>', 'longest wait for a batch to fill', number(0, 300), window)
    .option('--concurrency <invocations>', 'invocations at the same time, at most', number(1, 100), 2)
    .option('--timeout <seconds>', 'longest time of an invocation', number(0.1, 840), 120)
    .option('--on-failure <s3 url>', 's3://bucket/prefix for batches that fail again and again', s3Url)
    .option('--max-retries <times>', 'retries before a batch goes there', number(0, 10_000), 10)
    .option('--max-age <seconds>', 'age of a record at which its batch goes there', number(60, 604_800))
    .option('--notes <folder>', 'folder for notes of the records in work', NOTES_FOLDER)
    .parse()
    .opts<Options>();
}

/** Destinations of records and batches that can't be processed. */
function onFailure({ onFailure: destination, maxRetries, maxAge }: Options, settings: StorageSettings) {
  const write = createPutFailed(createStore(settings), POLLER);
  const putFailed: PutFailed = async (record, reason, more) => {
    await write(record, reason, more);
    emitMetrics(POLLER, claimedStream(record), { FramesFailed: 1 });
    if (more?.code) emitFailures(POLLER, more.code, 1);
  };
  if (!destination) {
    const tooLarge: PutFailed = (record, reason) => putFailed(record, reason, { code: 'RECORD_TOO_LARGE' });
    return { putFailed, onTooLarge: toFailedRecords(tooLarge) };
  }
  const put = toS3Destination(
    createStore({ ...settings, S3_BUCKET: destination.bucket }),
    destination.prefix,
  );
  const maxAgeMs = maxAge === undefined ? undefined : maxAge * 1000;
  return { putFailed, onTooLarge: put, afterRetries: { maxRetries, maxAgeMs, onFailure: put } };
}

async function loadHandler(file: string): Promise<Handler> {
  const { handler } = await import(pathToFileURL(resolve(file)).href);
  if (typeof handler !== 'function') throw new Error(`${file} exports no function 'handler'`);
  return handler;
}

function number(min: number, max: number) {
  return numberThat((value) => value >= min && value <= max, `a number from ${min} to ${max}`);
}

function s3Url(text: string): { bucket: string; prefix: string } {
  const [, bucket, prefix = ''] = text.match(/^s3:\/\/([^/]+)(?:\/(.*?))?\/?$/) ?? [];
  if (!bucket) throw new InvalidArgumentError('must be s3://bucket/prefix');
  return { bucket, prefix };
}

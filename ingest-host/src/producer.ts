import { readSourceUrl } from '@video-pipeline/config';
import { exitWithError } from '@video-pipeline/lifecycle';
import { observeMetrics } from '@video-pipeline/telemetry';
import { Command } from 'commander';
import { runIngest } from './run.ts';

interface Options {
  rtspUrl: string;
  kafkaBootstrap?: string;
  kafkaTopic?: string;
  streamId: string;
  frameRate?: string;
}

/** One camera from the command line: the same program as the ingest host, configured by options. */
const command = new Command('npm run producer --')
  .description('Samples one camera and publishes its frames to Kafka.')
  .requiredOption(
    '--rtsp-url <url>',
    `camera or video file; to keep a password out of ps, write '\${NAME}' for a variable in it, or @file for a file with the URL`,
  )
  .option('--kafka-bootstrap <host:port>', 'brokers (KAFKA_BOOTSTRAP_SERVERS)')
  .option('--kafka-topic <name>', 'topic of frames (KAFKA_TOPIC)')
  .option('--stream-id <id>', 'name of the stream', 'stream')
  .option('--frame-rate <number>', 'frames a second (FRAME_RATE)')
  .action(async ({ rtspUrl, kafkaBootstrap, kafkaTopic, streamId, frameRate }: Options) => {
    const options = {
      STREAMS: JSON.stringify([{ id: streamId, url: readSourceUrl(rtspUrl) }]),
      KAFKA_BOOTSTRAP_SERVERS: kafkaBootstrap,
      KAFKA_TOPIC: kafkaTopic,
      FRAME_RATE: frameRate,
      // The default port is that of the ingest host, which may run beside it.
      HEALTH_PORT: process.env.HEALTH_PORT || '0',
    };
    for (const [name, value] of Object.entries(options)) if (value !== undefined) process.env[name] = value;
    if (process.stderr.isTTY) showProgress();
    await runIngest();
  });

function showProgress(): void {
  let published = 0;
  const began = performance.now();
  observeMetrics({
    metrics: (_service, _stream, { FramesPublished = 0 }) => {
      for (const count of [FramesPublished].flat()) published += count;
      const rate = (published / (performance.now() - began)) * 1000;
      process.stderr.write(`\r${published} frames published, ${rate.toFixed(1)} a second `);
    },
    failures: () => {},
  });
}

await command.parseAsync().catch(exitWithError);

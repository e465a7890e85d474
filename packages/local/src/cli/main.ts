import { exitWithError } from '@video-pipeline/lifecycle';
import { Command } from 'commander';
import { kafkaStatsCommand } from './kafka-stats.ts';
import { logsCommand } from './logs.ts';
import { producerCommand } from './producer.ts';
import { s3DownloadCommand, s3ListCommand } from './s3.ts';
import { setupCommand } from './setup.ts';
import { statusCommand } from './status.ts';
import { inferenceCommand } from './test-inference.ts';
import { downCommand, upCommand } from './up.ts';

const program = new Command('npm run local --')
  .description(
    'Operate the pipeline on this machine, or one whose servers these name: KAFKA_BOOTSTRAP_SERVERS, ' +
      'AWS_ENDPOINT_URL, INFERENCE_SERVICE_URL.',
  )
  .showHelpAfterError();
const commands = [
  upCommand(),
  downCommand(),
  statusCommand(),
  logsCommand(),
  producerCommand(),
  inferenceCommand(),
  s3ListCommand(),
  s3DownloadCommand(),
  kafkaStatsCommand(),
  setupCommand(),
];
for (const command of commands) program.addCommand(command);

await program.parseAsync().catch(exitWithError);

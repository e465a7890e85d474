import { runCommand } from '@video-pipeline/lifecycle';
import { Command } from 'commander';
import { consoleCommand } from './console.ts';
import { envCommand } from './env.ts';
import { fetchCommand } from './fetch.ts';
import { kafkaStatsCommand } from './kafka-stats.ts';
import { logsCommand } from './logs.ts';
import { producerCommand } from './producer.ts';
import { s3DownloadCommand, s3ListCommand } from './s3.ts';
import { setupCommand } from './setup.ts';
import { useStage } from './stage.ts';
import { statusCommand } from './status.ts';
import { inferenceCommand } from './test-inference.ts';
import { downCommand, upCommand } from './up.ts';

const program = new Command('npm run local --')
  .description(
    'Operate the pipeline on this machine; with --stage, one that is deployed to AWS; or one whose servers ' +
      'KAFKA_BOOTSTRAP_SERVERS, AWS_ENDPOINT_URL and INFERENCE_SERVICE_URL name.',
  )
  .hook('preAction', (_, command) => {
    const { stage } = command.opts<{ stage?: string }>();
    if (stage) command.setOptionValue('stage', useStage(stage));
  })
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
  consoleCommand(),
  setupCommand(),
  fetchCommand(),
  envCommand(),
];
for (const command of commands) program.addCommand(command);

await runCommand(program.parseAsync());

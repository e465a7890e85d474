import { runCommand } from '@video-pipeline/lifecycle';
import { Command } from 'commander';
import { useStage } from './stage.ts';

const program = new Command('npm run local --')
  .description(
    'Operate the pipeline on this machine; with --stage, one that is deployed to AWS; or one whose servers ' +
      'KAFKA_BOOTSTRAP_SERVERS, AWS_ENDPOINT_URL and INFERENCE_SERVICE_URL name.',
  )
  .hook('preAction', (_, command) => {
    const { stage } = command.opts<{ stage?: string }>();
    if (stage) command.setOptionValue('stage', useStage(stage));
  });
/** Only the command that is called is loaded: loading all takes half a second. */
const COMMANDS: Record<string, () => Promise<Command>> = {
  up: async () => (await import('./up.ts')).upCommand(),
  down: async () => (await import('./up.ts')).downCommand(),
  status: async () => (await import('./status.ts')).statusCommand(),
  logs: async () => (await import('./logs.ts')).logsCommand(),
  producer: async () => (await import('./producer.ts')).producerCommand(),
  'test-inference': async () => (await import('./test-inference.ts')).inferenceCommand(),
  's3-list': async () => (await import('./s3.ts')).s3ListCommand(),
  's3-download': async () => (await import('./s3.ts')).s3DownloadCommand(),
  'kafka-stats': async () => (await import('./kafka-stats.ts')).kafkaStatsCommand(),
  console: async () => (await import('./console.ts')).consoleCommand(),
  setup: async () => (await import('./setup.ts')).setupCommand(),
  fetch: async () => (await import('./fetch.ts')).fetchCommand(),
  env: async () => (await import('./env.ts')).envCommand(),
};
const [, , command = ''] = process.argv;
for (const name of Object.hasOwn(COMMANDS, command) ? [command] : Object.keys(COMMANDS)) {
  const command = await COMMANDS[name]?.();
  if (command) program.addCommand(command);
}

await runCommand(program.parseAsync());

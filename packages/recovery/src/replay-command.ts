import { DAY_MS } from '@video-pipeline/frame';
import { createInferenceClient } from '@video-pipeline/inference-client';
import { runCommand } from '@video-pipeline/lifecycle';
import { numberThat } from '@video-pipeline/lifecycle/parse-number';
import { checkRange, parseTime } from '@video-pipeline/lifecycle/parse-time';
import { createStore } from '@video-pipeline/storage';
import { createLogger } from '@video-pipeline/telemetry';
import { Command } from 'commander';
import { connectEnvironment, TARGET_HELP } from './connect.ts';
import { replay } from './replay.ts';

const logger = createLogger('replay');
// A replay must not count as traffic of the pipeline, and stdout is for the result.
process.env.POWERTOOLS_METRICS_DISABLED = 'true';

const command = new Command('npm run replay --')
  .description(
    'process frames that Kafka still has again, with another model for example, into a folder of its own in S3',
  )
  .requiredOption('--from <time>', 'frames captured at this time or later, ISO 8601', parseTime)
  .requiredOption('--to <time>', 'frames captured before this time, ISO 8601', parseTime)
  .option(
    '--max-ahead <minutes>',
    'most minutes by which a frame is captured later than it is written to Kafka, by the clocks: older records are not read',
    numberThat((minutes) => minutes >= 0, 'a number of minutes, from 0 on'),
    DAY_MS / 60_000,
  )
  .option('--stream <id>', 'only of this stream')
  .option(
    '--folder <name>',
    'folder in S3 that everything is written under',
    `replay/${new Date().toISOString().replaceAll(':', '-')}`,
  )
  .option('--json', 'print one JSON object', false)
  .addHelpText(
    'after',
    `${TARGET_HELP}\n\nINFERENCE_SERVICE_URL names the model server. Nothing that is stored already is changed.`,
  )
  .action(async ({ from, to, maxAhead, stream, folder, json }) => {
    checkRange({ from, to });
    const { config, bucket, kafka } = await connectEnvironment('replay', ['bucket', 'kafka']);
    bucket.close();
    const { frames, failed } = await replay({
      kafka,
      config,
      detector: createInferenceClient(),
      store: createStore(config),
      folder,
      from: from.getTime(),
      to: to.getTime(),
      maxAheadMs: maxAhead * 60_000,
      stream,
      logger,
      progress: (frames) => void process.stderr.write(`\r${frames} frames`),
    });
    process.stderr.write('\n');
    const where = `s3://${config.S3_BUCKET}/${folder}/`;
    const problem = failed > 0 ? `, ${failed} of them in its failed/` : '';
    console.log(
      json
        ? JSON.stringify({ frames, failed, where })
        : `${frames} frames processed again, in ${where}${problem}`,
    );
    process.exitCode = failed > 0 ? 1 : 0;
  });

await runCommand(command.parseAsync());

import { once } from 'node:events';
import { DAY_MS, isStreamId } from '@video-pipeline/frame';
import { exitWithError, runCommand } from '@video-pipeline/lifecycle';
import { numberThat } from '@video-pipeline/lifecycle/parse-number';
import { checkRange, parseTime } from '@video-pipeline/lifecycle/parse-time';
import { createReader } from '@video-pipeline/storage';
import { Command, InvalidArgumentError, Option } from 'commander';
import { BUCKET_HELP } from './bucket-help.ts';
import { exported, FORMATS, type Format } from './exports.ts';
import type { Query } from './sql.ts';
import { Tables } from './tables.ts';

interface Options {
  stream: string[];
  class: string[];
  track?: string;
  zone?: string;
  onePerTrack: boolean;
  confidence: number;
  from?: Date;
  to?: Date;
  limit: number;
  format: Format;
}

const several = (text: string, before: string[]) => [...before, text];

function stream(text: string, before: string[]): string[] {
  if (!isStreamId(text)) throw new InvalidArgumentError('is no id of a stream');
  return [...before, text];
}

const share = numberThat((value) => value >= 0 && value <= 1, 'from 0 to 1');
const count = numberThat(
  (value) => Number.isInteger(value) && value > 0 && value < 1e9,
  'a whole number over 0',
);

/** Exit codes as shells have them. Without a handler, a signal would leave the folder of the database. */
for (const [signal, code] of Object.entries({ SIGINT: 130, SIGTERM: 143 }))
  process.once(signal, () => process.exit(code));
process.stdout.once('error', (error: NodeJS.ErrnoException) => {
  // The reader has read enough, as `head` does.
  if (error.code === 'EPIPE') process.exit(141);
  exitWithError(error);
});

await runCommand(
  new Command('npm run search --')
    .description('finds stored frames by the objects in them, and prints them, the newest first')
    .option('--stream <id>', 'of this stream; repeat for more', stream, [])
    .option('--class <name>', 'frames that show this class; repeat for more', several, [])
    .option('--track <id>', 'frames that show this track')
    .option('--zone <name>', 'frames that show something in this zone')
    .option('--one-per-track', 'of each track, only the frame with its highest confidence', false)
    .option('--confidence <share>', 'lowest confidence of the objects that they show, 0..1', share, 0)
    .option(
      '--from <time>',
      'captured at this time or later, ISO 8601; without it, a day before --to',
      parseTime,
    )
    .option('--to <time>', 'captured before this time, ISO 8601; without it, now', parseTime)
    .option('--limit <frames>', 'most frames', count, 100_000)
    .addOption(new Option('--format <name>', 'output format').choices(FORMATS).default('ndjson'))
    .addHelpText('after', BUCKET_HELP)
    .action(async (options: Options) => {
      const query = queryOf(options);
      const reader = createReader();
      const tables = new Tables(reader);
      let count = 0;
      const found = (frames: number) => {
        count = frames;
        if (process.stderr.isTTY) process.stderr.write(`\r${frames} frames`);
      };
      try {
        for await (const piece of exported(tables, query, options.format, { reader, found }))
          if (!process.stdout.write(piece)) await once(process.stdout, 'drain');
        console.error(options.format === 'parquet' ? 'done' : `\r${count} frames`);
      } finally {
        await tables.close();
      }
    })
    .parseAsync(),
);

function queryOf(options: Options): Query {
  const { stream: streams, class: classes, track, zone, onePerTrack: perTrack, confidence, limit } = options;
  const to = options.to ?? new Date();
  checkRange({ from: options.from, to });
  const from = options.from?.getTime() ?? to.getTime() - DAY_MS;
  return { streams, classes, track, zone, perTrack, confidence, from, to: to.getTime(), limit };
}

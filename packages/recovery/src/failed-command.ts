import { claimedStream } from '@video-pipeline/frame';
import { orderedProducer } from '@video-pipeline/kafka';
import { runCommand } from '@video-pipeline/lifecycle';
import { checkRange, parseTime } from '@video-pipeline/lifecycle/parse-time';
import { FAILED_FOLDERS } from '@video-pipeline/stages';
import { type Bucket, FAILURES, ifThere } from '@video-pipeline/storage';
import { Command, Option } from 'commander';
import { connectEnvironment, TARGET_HELP } from './connect.ts';
import { DiskMap } from './disk-map.ts';
import {
  type FailedEntry,
  FailedEntryError,
  type FailedFilter,
  listFailed,
  purge,
  readFailed,
  redrive,
} from './failed.ts';

const program = new Command('npm run failed --')
  .description('records in failed/, which could not be processed: list, show, redrive or purge them')
  .addHelpText('after', TARGET_HELP);
/** A key, a reason and an error may quote text of anybody: control characters, which terminals obey, are encoded. */
const printable = (text: string) => text.replaceAll(/\p{Cc}/gu, encodeURIComponent);
const warn = ({ message }: FailedEntryError) => void process.stderr.write(`${printable(message)}\n`);

selection(
  'list',
  'list the records in failed/, and the batches that mappings gave up on, with their reasons',
).action((filter) =>
  withBucket(async (bucket) => {
    using found = new DiskMap<string>();
    for await (const entry of listFailed(bucket, chosen(filter), warn))
      found.set(`${entry.time} ${entry.key}`, filter.json ? JSON.stringify(entry) : line(entry));
    let isNothing = true;
    for (const [, text] of found) {
      isNothing = false;
      console.log(text);
    }
    if (isNothing) process.stderr.write('nothing has failed that matches\n');
  }),
);

program
  .command('show <key>')
  .description('print one failed record whole')
  .action((key) =>
    withBucket(async (bucket) => {
      const entry = await ifThere(readFailed(bucket, key));
      if (!entry)
        throw new FailedEntryError(`there is no ${key}: 'npm run failed -- list' says what there is`);
      console.log(JSON.stringify(entry, undefined, 2));
    }),
  );

selection('redrive', 'put records back on their topic, and then delete them from failed/')
  .option('--yes', 'do it; without it, only say what would be done', false)
  .action((options) =>
    withBucket(async (bucket, { kafka, config }) => {
      const producer = orderedProducer(kafka);
      const target = options.yes ? producer : { send: async () => [] };
      await each(bucket, options, 'put back', (from, entry) => redrive(from, target, entry, config));
      await producer.disconnect();
    }),
  );

selection('purge', 'delete records from failed/ for good')
  .option('--yes', 'do it; without it, only say what would be done', false)
  .action((options) =>
    withBucket((bucket) => each(bucket, options, 'deleted', (from, entry) => purge(from, entry, options))),
  );

await runCommand(program.parseAsync());

function selection(name: string, description: string): Command {
  return program
    .command(name)
    .description(description)
    .addOption(new Option('--by <stage>', 'only of this stage').choices(FAILED_FOLDERS))
    .option('--stream <id>', 'only of this stream')
    .addOption(
      new Option('--code <code>', 'only of this kind, see docs/failures.md').choices(Object.keys(FAILURES)),
    )
    .option('--reason <text>', 'only where the reason holds this text')
    .option('--from <time>', 'only failed at this time or later, ISO 8601', parseTime)
    .option('--to <time>', 'only failed before this time, ISO 8601', parseTime)
    .option('--json', 'one JSON object a line', false);
}

/** `--stage` means a deployment, here as in every command. */
type Selection = Omit<FailedFilter, 'stage'> & { by?: string };

function chosen({ by, ...filter }: Selection): FailedFilter {
  checkRange(filter);
  return { ...filter, stage: by };
}

/** Acts on each chosen entry. Without `yes`, the same is done to a bucket that keeps all: so refusals are told, too. */
async function each(
  bucket: Bucket,
  options: Selection & { yes: boolean; json: boolean },
  done: string,
  act: (from: Bucket, entry: FailedEntry) => Promise<void>,
): Promise<void> {
  const from = options.yes ? bucket : { ...bucket, remove: async () => {} };
  let [count, refused] = [0, 0];
  const refuse = (error: FailedEntryError) => {
    warn(error);
    process.exitCode = 1;
    refused++;
  };
  for await (const entry of listFailed(bucket, chosen(options), refuse)) {
    try {
      await act(from, entry);
    } catch (error) {
      if (!(error instanceof FailedEntryError)) throw error;
      refuse(error);
      continue;
    }
    console.log(options.json ? JSON.stringify({ key: entry.key, done: options.yes }) : line(entry));
    count++;
  }
  const counts = `${count}${options.yes ? '' : ' would be'} ${done}${refused > 0 ? `, ${refused} refused` : ''}`;
  process.stderr.write(`${counts}${options.yes ? '' : '; add --yes to do it'}\n`);
}

/** An entry as one line. */
function line({ key, time: at, code, reason, record }: FailedEntry): string {
  return printable([at, key, claimedStream(record), code ?? '-', reason].join('  '));
}

type Connected = Awaited<ReturnType<typeof connectEnvironment>>;

async function withBucket(use: (bucket: Bucket, more: Connected) => Promise<void>): Promise<void> {
  const connected = await connectEnvironment('failed');
  await use(connected.bucket, connected).finally(() => connected.bucket.close());
}

import { once } from 'node:events';
import { readConfig } from '@video-pipeline/config';
import { isStreamId } from '@video-pipeline/frame';
import { runCommand } from '@video-pipeline/lifecycle';
import { createReader, STORAGE_VARIABLES } from '@video-pipeline/storage';
import { Command, InvalidArgumentError, Option } from 'commander';
import { type Exporter, FORMATS, type Format, writer } from './formats.ts';
import { Tables } from './tables.ts';

const DAY_MS = 86_400_000;
/** Frames that are asked for at once. */
const PAGE = 1_000;

interface Options {
  stream: string[];
  class: string[];
  track?: string;
  confidence: number;
  from?: number;
  to?: number;
  limit: number;
  format: Format;
}

const several = (text: string, before: string[]) => [...before, text];

function stream(text: string, before: string[]): string[] {
  if (!isStreamId(text)) throw new InvalidArgumentError('is no id of a stream');
  return [...before, text];
}

function time(text: string): number {
  const value = Date.parse(text);
  if (Number.isNaN(value)) throw new InvalidArgumentError('must be a time such as 2026-11-25T07:00:00Z');
  return value;
}

function share(text: string): number {
  const value = Number(text);
  if (text.trim() && value >= 0 && value <= 1) return value;
  throw new InvalidArgumentError('must be from 0 to 1');
}

function count(text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('must be a whole number over 0');
}

await runCommand(
  new Command('search')
    .description('finds stored frames by what was seen in them, the newest first, and prints them')
    .option('--stream <id>', 'of this stream; repeat for more', stream, [])
    .option('--class <name>', 'frames that show this class; repeat for more', several, [])
    .option('--track <id>', 'frames that show this track')
    .option('--confidence <share>', 'least confidence of what they show, 0..1', share, 0)
    .option('--from <time>', 'captured at this time or later, ISO 8601; without it, a day before --to', time)
    .option('--to <time>', 'captured before this time, ISO 8601; without it, now', time)
    .option('--limit <frames>', 'most frames', count, 100_000)
    .addOption(new Option('--format <name>', 'form of what is printed').choices(FORMATS).default('ndjson'))
    .addHelpText(
      'after',
      `
Looks at the pipeline that runs on this machine (--data-dir <folder> for another than .data), at a deployed one with
--stage <name>, or at the bucket that AWS_ENDPOINT_URL and S3_BUCKET name.`,
    )
    .action(async (options: Options) => {
      const tables = new Tables(createReader(readConfig(STORAGE_VARIABLES)));
      try {
        const found = await print(tables, options, writer(options.format));
        console.error(`${found} frames`);
      } finally {
        await tables.close();
      }
    })
    .parseAsync(),
);

async function print(tables: Tables, options: Options, exporter: Exporter): Promise<number> {
  const to = options.to ?? Date.now();
  const from = options.from ?? to - DAY_MS;
  if (from >= to) throw new InvalidArgumentError('--from must be before --to');
  const { stream: streams, class: classes, track, confidence } = options;
  let found = 0;
  let cursor: string | undefined;
  await write(exporter.begin());
  do {
    const limit = Math.min(PAGE, options.limit - found);
    const page = await tables.search({ streams, classes, track, confidence, from, to, limit, cursor });
    for (const frame of page.frames) await write(exporter.frame(frame));
    found += page.frames.length;
    cursor = page.cursor;
  } while (cursor !== undefined && found < options.limit);
  await write(exporter.end());
  return found;
}

async function write(text: string): Promise<void> {
  if (text !== '' && !process.stdout.write(text)) await once(process.stdout, 'drain');
}

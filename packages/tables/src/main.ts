import { setTimeout as sleep } from 'node:timers/promises';
import { readConfig } from '@video-pipeline/config';
import { HOUR_MS } from '@video-pipeline/frame';
import { onShutdown, reportReady, runCommand, waitForParent } from '@video-pipeline/lifecycle';
import { numberThat } from '@video-pipeline/lifecycle/parse-number';
import { createReader, createStore, STORAGE_VARIABLES } from '@video-pipeline/storage';
import { createLogger } from '@video-pipeline/telemetry';
import { Command } from 'commander';
import { BUCKET_HELP } from './bucket-help.ts';
import { compact } from './compact.ts';
import { MIN_EXPIRE_DAYS } from './schema.ts';

/** A run begins this long after a full hour: its last batches are stored, and all machines' clocks have passed it. */
const AFTER_HOUR_MS = 180_000;
const RETRY_MS = 60_000;

const logger = createLogger('compact');

const days = numberThat(
  (value) => Number.isInteger(value) && value >= MIN_EXPIRE_DAYS && value < 1e5,
  `a whole number from ${MIN_EXPIRE_DAYS} on`,
);

await runCommand(
  new Command('npm run compact --')
    .description(
      "writes the detections and events of past hours into the bucket's Parquet tables (docs/tables.md)",
    )
    .option('--once', 'run once and exit; without it, run after each full hour until Ctrl-C', false)
    .option('--all', 'check every hour again, not only those of the last two days', false)
    .option(
      '--expire-days <n>',
      'remove NDJSON that the tables hold, this many days after it was stored',
      days,
    )
    .addHelpText('after', BUCKET_HELP)
    .action(async ({ once, all, expireDays }: { once: boolean; all: boolean; expireDays?: number }) => {
      await waitForParent();
      const settings = readConfig(STORAGE_VARIABLES);
      const bucket = { ...createReader(settings), ...createStore(settings) };
      const stop = new AbortController();
      const { signal } = stop;
      let running: Promise<unknown> = Promise.resolve();
      onShutdown(async () => {
        stop.abort();
        await running;
      }, logger);
      const run = async () => {
        const work = compact(bucket, { all, expireDays, signal });
        running = work.catch(() => {});
        const done = await work;
        if (once || done.written > 0 || done.expired > 0) logger.info('compacted', { ...done });
      };
      if (once) return run();
      reportReady();
      while (!signal.aborted) {
        const failed = await run().catch((error) => {
          if (!signal.aborted) logger.error('compaction failed, and is tried again', error);
          return true;
        });
        const next = HOUR_MS - ((Date.now() - AFTER_HOUR_MS) % HOUR_MS);
        await sleep(failed ? RETRY_MS : next, undefined, { signal }).catch(() => {});
      }
    })
    .parseAsync(),
);

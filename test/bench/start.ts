// How long a newcomer waits for the first picture: `npm run bench:start -- --help`. Times count from `npm start` on an empty data
// folder, with what is fetched once in the cache or, with --cold, fetched too; the page is opened in real Chromium as soon as
// its address is known.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { runningState } from '../../packages/cli/src/running.ts';
import type { State } from '../../packages/local/src/session.ts';
import { supervisorOf } from '../../packages/local/src/supervisor/processes.ts';
import { launchChromium } from '../e2e/chromium.ts';
import { npmScript, positiveInteger } from './options.ts';

const ROOT = join(import.meta.dirname, '../..');
/** As a person has it: without what npm told this script. */
const ENV = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^npm_|^INIT_CWD$/.test(name)),
);

const {
  runs: count,
  beside,
  cold,
} = npmScript('bench:start', 'Seconds from `npm start` to a live picture in the browser.')
  .option('--runs <n>', 'how often', positiveInteger, 3)
  .option('--beside <checkout>', 'another checkout, installed, measured in turn with this one')
  .option('--cold', 'with nothing fetched: downloads and what is built once count', false)
  .parse()
  .opts<{ runs: number; beside?: string; cold: boolean }>();

const checkouts = beside ? [beside, ROOT] : [ROOT];
const browser = await launchChromium();
if (!cold) for (const checkout of checkouts) await warm(checkout);
const runs = [];
for (let run = 0; run < count; run++) for (const checkout of checkouts) runs.push(await measure(checkout));
await browser.close();
console.table(runs);

/** Resolves once a picture lies there: the state tells it up to a second later. */
async function firstPicture(folder: string): Promise<void> {
  const pictures = () => readdir(folder, { recursive: true }).catch(() => []);
  while (!(await pictures()).some((name) => name.endsWith('.jpg'))) await sleep(50);
}

/** A start that is not measured, until all lies in the cache that starts leave for later ones. */
async function warm(checkout: string): Promise<void> {
  const cache = process.env.VIDEO_PIPELINE_CACHE || join(checkout, '.cache');
  const archives = () => readdir(join(cache, 'java-classes')).catch(() => []);
  const stack = await start(checkout);
  const until = Date.now() + 120_000;
  await firstPicture(join(stack.dataDir, 's3'));
  while ((await archives()).filter((name) => name.endsWith('.jsa')).length < 2 && Date.now() < until)
    await sleep(500);
  await stack.stop();
}

/** `npm start` on an empty data folder. */
async function start(checkout: string) {
  const dataDir = await mkdtemp(join(tmpdir(), 'bench-start-'));
  const cache = join(dataDir, 'cache');
  // A checkout from before there was a downloader takes its jars by Maven.
  const empty = { VIDEO_PIPELINE_CACHE: cache, MAVEN_OPTS: `-Dmaven.repo.local=${cache}/m2` };
  const npm = spawn('npm', ['start', '--', '--ports', 'auto', '--data-dir', dataDir], {
    cwd: checkout,
    env: { ...ENV, ...(cold ? empty : {}) },
    stdio: 'ignore',
  });
  return {
    dataDir,
    async stop() {
      npm.kill('SIGTERM');
      await once(npm, 'exit');
      while (await supervisorOf(join(dataDir, 'run'))) await sleep(50);
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

async function measure(checkout: string) {
  const began = performance.now();
  const seconds = () => Number(((performance.now() - began) / 1000).toFixed(1));
  const { dataDir, stop } = await start(checkout);
  try {
    const until = async (is: (state: State) => boolean) => {
      for (; ; await sleep(50)) {
        const state = await runningState(dataDir);
        if (state && is(state)) return state;
      }
    };
    const { endpoints } = await until(({ services }) => 'console' in services);
    const consoleAnswers = seconds();
    const page = await browser.newPage();
    await page.goto(endpoints.console ?? '');
    const paint = await page.evaluate(
      () => performance.getEntriesByName('first-contentful-paint')[0]?.startTime,
    );
    const isAnnotated = firstPicture(endpoints.output).then(seconds);
    await page.locator('canvas[data-frame]').first().waitFor({ timeout: 120_000 });
    const livePicture = seconds();
    await page.close();
    return {
      checkout,
      'console answers, s': consoleAnswers,
      'first paint, ms': Math.round(paint ?? Number.NaN),
      'live picture in the browser, s': livePicture,
      'annotated frame stored, s': await isAnnotated,
    };
  } finally {
    await stop();
  }
}

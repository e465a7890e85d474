// How long a newcomer waits for the first picture: `npm run bench:start -- --help`. Times count from `npm start` on an empty data
// folder, with what is fetched once in the cache or, with --cold, fetched too. Each checkout starts without a browser, and with
// the page opened in real Chromium as soon as its address is known.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { exitWithError } from '@video-pipeline/lifecycle';
import { runningState } from '../../packages/cli/src/running.ts';
import type { State } from '../../packages/local/src/session.ts';
import { supervisorOf } from '../../packages/local/src/supervisor/processes.ts';
import { npmScript, positiveInteger } from './options.ts';
import { median, treeCpuMs } from './processes.ts';

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
// Loaded only now: it fetches a Chromium, which `--help` needs none of.
const browser = await import('../e2e/chromium.ts')
  .then(({ launchChromium }) => launchChromium())
  .catch(exitWithError);
if (!cold) for (const checkout of checkouts) await warm(checkout);
const runs: Awaited<ReturnType<typeof measure>>[] = [];
for (let run = 0; run < count; run++)
  for (const opened of [false, true])
    for (const checkout of checkouts) runs.push(await measure(checkout, opened));
await browser.close();
console.table(runs);
console.log('first frame stored, median, s');
for (const [of, those] of Object.entries(Object.groupBy(runs, (run) => `${run.checkout}, ${run.browser}`)))
  console.log(`${of}: ${median(those?.map((run) => run['first frame stored, s']) ?? [])}`);

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
    npm,
    dataDir,
    async stop() {
      npm.kill('SIGTERM');
      await once(npm, 'exit');
      while (await supervisorOf(join(dataDir, 'run'))) await sleep(50);
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

async function measure(checkout: string, isOpened: boolean) {
  const began = performance.now();
  const seconds = () => Number(((performance.now() - began) / 1000).toFixed(1));
  const { npm, dataDir, stop } = await start(checkout);
  // From the start on: the first frame may be stored before the page is there.
  const stored = firstPicture(join(dataDir, 's3')).then(() => ({
    'first frame stored, s': seconds(),
    'CPU of all processes until then, s': Math.round(treeCpuMs(npm.pid) / 100) / 10,
  }));
  try {
    const page = isOpened ? await openPage(dataDir, seconds, stored) : {};
    return { checkout, browser: isOpened ? 'with a browser' : 'without', ...page, ...(await stored) };
  } finally {
    await stop();
  }
}

/** Opens the page once its address is known, as a person does. It stays open until `over`. */
async function openPage(dataDir: string, seconds: () => number, over: Promise<unknown>) {
  let state: State | undefined;
  while (!state || !('console' in state.services)) {
    await sleep(50);
    state = await runningState(dataDir);
  }
  const consoleAnswers = seconds();
  const page = await browser.newPage();
  await page.goto(state.endpoints.console ?? '');
  const paint = await page.evaluate(
    () => performance.getEntriesByName('first-contentful-paint')[0]?.startTime,
  );
  await page.locator('canvas[data-frame]').first().waitFor({ timeout: 120_000 });
  const livePicture = seconds();
  await over;
  await page.close();
  return {
    'console answers, s': consoleAnswers,
    'first paint, ms': Math.round(paint ?? Number.NaN),
    'live picture in the browser, s': livePicture,
  };
}

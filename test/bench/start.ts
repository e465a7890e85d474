// How long a newcomer waits for the first picture: `npm run bench:start -- --help`. Times count from `npm start` on an empty data
// folder, with what is fetched once in the cache; the page is opened in real Chromium as soon as its address is known.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { runningState } from '../../packages/cli/src/running.ts';
import type { State } from '../../packages/local/src/session.ts';
import { supervisorOf } from '../../packages/local/src/supervisor/processes.ts';
import { launchChromium } from '../e2e/chromium.ts';
import { npmScript, positiveInteger } from './options.ts';

const { runs: count } = npmScript('bench:start', 'Seconds from `npm start` to a live picture in the browser.')
  .option('--runs <n>', 'how often', positiveInteger, 3)
  .parse()
  .opts<{ runs: number }>();

const browser = await launchChromium();
const runs = [];
for (let run = 0; run < count; run++) runs.push(await measure());
await browser.close();
console.table(runs);

async function measure() {
  const dataDir = await mkdtemp(join(tmpdir(), 'bench-start-'));
  const began = performance.now();
  const seconds = () => Number(((performance.now() - began) / 1000).toFixed(1));
  const npm = spawn('npm', ['start', '--', '--ports', 'auto', '--data-dir', dataDir], { stdio: 'ignore' });
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
    const isAnnotated = until(({ latency_ms }) => latency_ms.p50 !== null).then(seconds);
    await page.locator('canvas[data-frame]').first().waitFor({ timeout: 120_000 });
    const livePicture = seconds();
    await page.close();
    return {
      'console answers, s': consoleAnswers,
      'first paint, ms': Math.round(paint ?? Number.NaN),
      'live picture in the browser, s': livePicture,
      'annotated frame stored, s': await isAnnotated,
    };
  } finally {
    npm.kill('SIGTERM');
    await once(npm, 'exit');
    while (await supervisorOf(join(dataDir, 'run'))) await sleep(50);
    await rm(dataDir, { recursive: true, force: true });
  }
}

import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, parse, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CLIPS, fetchAsset } from '@video-pipeline/assets';
import { startCameras } from '@video-pipeline/camera';
import { encodeFrame } from '@video-pipeline/frame';
import { connectKafka, orderedProducer } from '@video-pipeline/kafka';
import { exitWithError } from '@video-pipeline/lifecycle';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import sharp, { type Sharp } from 'sharp';
import { npmScript } from '../bench/options.ts';
import { startStackProcess } from './stack-process.ts';

npmScript(
  'console:shots',
  'Takes the pictures of the console in the documents: the whole pipeline runs, on the demo cameras, in Chromium.',
).parse();
// Loaded only here, since it fetches a Chromium, which `--help` does not need.
const browser = await import('./chromium.ts')
  .then(({ launchChromium }) => launchChromium())
  .catch(exitWithError);

const ROOT = resolve(import.meta.dirname, '../..');
const IMAGES = join(ROOT, 'docs/images');
/** One minute in four rows: long enough for the charts to have something to show, too. */
const STRIP_ROWS = 4;
const STRIP_STEP_MS = 20_000;

/** The demo camera that the pictures of one stream show, and what its scene is. */
const STREAM = 'franck';
const SCENE = `
  scene:
    zones:
      desk: { polygon: [[0.25, 0.25], [0.75, 0.25], [0.9, 1], [0.1, 1]] }
    lines:
      middle: { from: [0.5, 1], to: [0.5, 0] }
    events:
      - { type: entered_zone, name: somebody-came, zone: desk, classes: [person] }
      - { type: stayed_longer, name: somebody-stays, zone: desk, seconds: 10, classes: [person] }
      - { type: line_crossed, name: moved-over, line: middle }
`;
/** Corners of a zone to be drawn, pixels of the window. */
const CORNERS = [
  [420, 160],
  [700, 180],
  [660, 420],
  [400, 400],
] as const;

interface Shot {
  name: string;
  hash: string;
  options?: BrowserContextOptions;
  /** What to do before the picture is taken. */
  before?: (page: Page) => Promise<void>;
}

const SHOTS: Shot[] = [
  {
    name: 'console-live',
    hash: '#/',
    before: (page) => page.locator('canvas[data-frame]').first().waitFor(),
  },
  {
    name: 'console-stream',
    hash: `#/stream/${STREAM}`,
    options: { colorScheme: 'dark', viewport: { width: 1100, height: 1250 } },
    before: (page) => page.locator('canvas.screen[data-frame]').waitFor(),
  },
  {
    name: 'console-zone',
    hash: `#/stream/${STREAM}`,
    options: { viewport: { width: 1100, height: 1000 } },
    before: async (page) => {
      await page.locator('canvas.screen[data-frame]').waitFor();
      await page.getByRole('button', { name: 'Draw a zone' }).click();
      for (const [x, y] of CORNERS) await page.mouse.click(x, y);
    },
  },
  { name: 'console-flow', hash: '#/flow', options: { viewport: { width: 1100, height: 880 } } },
  { name: 'console-search', hash: '#/search?class=person&confidence=0.6' },
  {
    name: 'console-failed',
    hash: '#/failed',
    options: { viewport: { width: 1100, height: 360 } },
    before: async (page) => {
      const row = page.locator('tbody tr');
      while ((await row.count()) === 0) {
        await sleep(2_000);
        await page.reload();
      }
    },
  },
  {
    name: 'console-phone',
    hash: '#/',
    options: { viewport: { width: 390, height: 844 }, colorScheme: 'dark', isMobile: true },
    before: (page) => page.locator('canvas[data-frame]').first().waitFor(),
  },
];

const dataDir = await mkdtemp(join(tmpdir(), 'console-shots-'));
const streamsFile = join(dataDir, 'streams.yaml');
const files = await fetchAsset(CLIPS, () => {});
const clips = Object.fromEntries(files.map((file) => [parse(file).name, file]));
const cameras = await startCameras({ clips });
const streams = Object.keys(clips).map(
  (id) => `- id: ${id}\n  url: ${cameras.url}/${id}${id === STREAM ? SCENE : '\n'}`,
);
await writeFile(streamsFile, streams.join(''));
const stack = startStackProcess(dataDir, [], { STREAMS_FILE: streamsFile });
try {
  const { endpoints } = await stack.until(
    ({ latency_ms, services }) => latency_ms.p50 !== null && 'console' in services,
    'an annotated frame',
    180_000,
  );
  const { console: url = '' } = endpoints;
  await publishBroken(endpoints.kafka);
  await mkdir(IMAGES, { recursive: true });
  // Stored latency is measured only while a page is open.
  const watcher = await browser.newPage();
  await watcher.goto(`${url}/#/flow`);
  await takeStrip(browser, url);
  for (const shot of SHOTS) await take(browser, url, shot);
  await browser.close();
} finally {
  stack.child.kill('SIGTERM');
  await stack.exited;
  await cameras.close();
  await rm(dataDir, { recursive: true, force: true });
}

/** A frame that can not be decoded, for the picture of failed records. */
async function publishBroken(bootstrap: string): Promise<void> {
  const settings = { KAFKA_BOOTSTRAP_SERVERS: bootstrap, KAFKA_AUTH: 'none', AWS_REGION: '' } as const;
  const producer = orderedProducer(connectKafka('shots', { warn() {}, error: console.error }, settings));
  const jpeg = Buffer.from('no picture');
  const at = { frameNumber: 0, session: 'broken', capturedAt: Date.now() };
  await producer.connect();
  const message = encodeFrame({ streamId: STREAM, ...at, width: 640, height: 360, jpeg });
  await producer.send({ topic: 'video-frames', messages: [message] });
  await producer.disconnect();
}

async function take(browser: Browser, url: string, { name, hash, options, before }: Shot): Promise<void> {
  const context = await browser.newContext({ viewport: { width: 1100, height: 760 }, ...options });
  const page = await context.newPage();
  await page.goto(`${url}/${hash}`);
  await before?.(page);
  await sleep(4_000);
  await write(name, sharp(await page.screenshot()));
  await context.close();
}

/** The grid of cameras at four times within one minute, one below the other. */
async function takeStrip(browser: Browser, url: string): Promise<void> {
  const page = await browser.newPage({ viewport: { width: 1000, height: 400 } });
  await page.goto(url);
  await page.locator('canvas[data-frame]').nth(2).waitFor();
  const rows: Buffer[] = [];
  while (rows.length < STRIP_ROWS) {
    if (rows.length > 0) await sleep(STRIP_STEP_MS);
    rows.push(await page.locator('.grid').screenshot());
  }
  await page.close();
  await write('console-minute', sharp(rows, { join: { across: 1, shim: 8, background: '#14171c' } }));
}

async function write(name: string, picture: Sharp): Promise<void> {
  const path = join(IMAGES, `${name}.png`);
  const { size } = await picture.png({ palette: true, quality: 80, effort: 10 }).toFile(path);
  console.log(`${path}: ${Math.round(size / 1024)} KB`);
}

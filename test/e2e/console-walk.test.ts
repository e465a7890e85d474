import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CLIPS, fetchAsset } from '@video-pipeline/assets';
import { type Cameras, startCameras } from '@video-pipeline/camera';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { launchChromium } from './chromium.ts';
import { type StackProcess, startStackProcess } from './stack-process.ts';

/** `WALK_SHOTS=1` takes pictures of each step into docs/images. */
const IMAGES = join(import.meta.dirname, '../../docs/images');
const TOKEN = 'walking-through';
/** From a camera saved to its picture: ten seconds on a machine that does nothing else. */
const SEEN_MS = 20_000;
const SLOWLY = { timeout: 60_000 };

// Two minutes with a real model: `WALK=1` runs it, beside `npm test`.
describe.skipIf(!process.env.WALK && !process.env.WALK_SHOTS)('a new user of the console', () => {
  let dataDir: string;
  let cameras: Cameras;
  let stack: StackProcess;
  let browser: Browser;
  let page: Page;
  beforeAll(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'walk-'));
    const list = join(dataDir, 'cameras.yaml');
    await writeFile(list, '');
    const clips = await fetchAsset(CLIPS, () => {});
    cameras = await startCameras({
      clips: { franck: clips.find((clip) => clip.includes('franck')) ?? '' },
    });
    stack = startStackProcess(dataDir, ['--clips'], {
      STREAMS_FILE: list,
      CONSOLE_TOKEN: TOKEN,
      CLIP_AFTER_SECONDS: '1',
    });
    const isWhole = ({ services }: { services: object }) => 'console' in services && 'ingest' in services;
    const { endpoints } = await stack.until(isWhole, 'the console', 180_000);
    browser = await launchChromium();
    page = await browser.newPage({ viewport: { width: 1100, height: 900 } });
    page.setDefaultTimeout(20_000);
    await page.goto(endpoints.console ?? '');
  });
  afterAll(async () => {
    await browser?.close();
    stack?.child.kill('SIGTERM');
    await stack?.exited;
    await cameras?.close();
    await rm(dataDir, { recursive: true, force: true });
  });

  async function shot(name: string): Promise<void> {
    if (!process.env.WALK_SHOTS) return;
    await mkdir(IMAGES, { recursive: true });
    await page.screenshot({ path: join(IMAGES, `walk-${name}.png`) });
  }
  const link = (name: string) => page.getByRole('link', { name, exact: true });
  const button = (name: string) => page.getByRole('button', { name, exact: true });
  const told = (text: string | RegExp) => page.getByRole('status').filter({ hasText: text }).first();
  async function fillCamera(name: string, address: string): Promise<void> {
    await page.getByLabel('Name').fill(name);
    await page.getByLabel('Address').fill(address);
  }

  test('adds cameras, sees their pictures and errors, draws a zone, and gets an event of it', async () => {
    await page.getByLabel('Token').fill(TOKEN);
    await button('Log in').click();

    await link('Cameras').click();
    await told('No camera yet').waitFor();
    await fillCamera('office', `${cameras.url}/franck`);
    await button('Test').click();
    await told(/It sends h264, 360x288, \d/).waitFor();
    await page.getByRole('img', { name: 'Its first picture' }).waitFor();
    await shot('1-test');
    await button('Save camera').click();
    const saved = Date.now();
    await told('office is saved').waitFor();
    await link('Live').click();
    await page.locator('a.card[href="#/stream/office"] canvas[data-frame]').waitFor(SLOWLY);
    const seen = Date.now() - saved;
    console.log(`the picture of a new camera is there after ${(seen / 1000).toFixed(1)} s`);
    expect(seen).toBeLessThan(SEEN_MS);
    await shot('2-live');

    await link('Cameras').click();
    await fillCamera('shed', 'rtsp://127.0.0.1:1/none');
    await button('Test').click();
    await told(/It gives no picture: .*(refused|connect)/i).waitFor();
    await button('Save camera').click();
    const shed = page.getByRole('row').filter({ has: link('shed') });
    await shed.getByText(/failing: .*(refused|connect)/i).waitFor();
    await shot('3-dead');

    await page.goto(`${page.url().split('#')[0]}#/stream/office`);
    await page.locator('canvas.screen[data-frame]').waitFor();
    await button('Draw a zone').click();
    await page.getByLabel('Name of the zone').fill('desk');
    const box = await page.locator('canvas.screen').boundingBox();
    if (!box) throw new Error('no picture');
    // Dragged over the border, a corner lies on it: there the box of who sits at a desk ends.
    for (const [x, y, down] of [
      [0.3, 0.1, 0],
      [0.7, 0.1, 0],
      [0.7, 0.95, 60],
      [0.3, 0.95, 60],
    ] as const) {
      const [left, top] = [box.x + box.width * x, box.y + box.height * y];
      await page.mouse.move(left, top);
      await page.mouse.down();
      if (down) await page.mouse.move(left, box.y + box.height + down, { steps: 3 });
      await page.mouse.up();
    }
    await page.getByText('More: classes').click();
    await page.getByLabel('stays longer').fill('2');
    await shot('4-zone');
    await button('Save zone').click();
    await told('Zone desk is saved').waitFor();
    const event = page
      .getByRole('region', { name: 'Events' })
      .getByRole('listitem')
      .filter({ hasText: 'desk' });
    await event.first().waitFor(SLOWLY);
    await event.first().getByRole('button', { name: 'Play clip' }).waitFor(SLOWLY);
    await event.first().getByRole('button', { name: 'Play clip' }).click();
    // Where the browser can't play the MP4, its pictures are shown.
    const clip = page.locator('.clip').first();
    await expect
      .poll(
        () =>
          clip.evaluate((it: HTMLImageElement | HTMLVideoElement) =>
            it instanceof HTMLImageElement ? it.naturalWidth : it.currentTime,
          ),
        SLOWLY,
      )
      .toBeGreaterThan(0);
    await clip.scrollIntoViewIfNeeded();
    await shot('5-event');

    await link('Cameras').click();
    await button('Disable office').click();
    await page
      .getByRole('row')
      .filter({ has: link('office') })
      .getByText('disabled: ')
      .waitFor();
    await shot('6-disabled');
    await button('Log out').click();
    await page.getByLabel('Token').waitFor();
    await page.goto(page.url());
    await page.getByLabel('Token').waitFor();
  }, 240_000);
});

import { createRequire } from 'node:module';
import { failedKey, toLambdaRecord } from '@video-pipeline/frame';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { findChromium, launchChromium } from './chromium.ts';
import {
  annotate,
  CAT,
  type ConsoleFixture,
  clipJpegs,
  detectedFrame,
  PERSON,
  startCameras,
  startConsoleFixture,
} from './console-fixture.ts';

const AXE = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
const hasChromium = findChromium() !== undefined;
if (!hasChromium) console.warn('skipped: no Chromium on PATH (Debian: apt-get install chromium)');

describe.skipIf(!hasChromium)('the page in Chromium', () => {
  let fixture: ConsoleFixture;
  let browser: Browser;
  let cameras: ReturnType<typeof startCameras>;
  const dayAgo = Date.now() - 86_400_000 + 600_000;

  beforeAll(async () => {
    let clips: Buffer[][];
    [fixture, browser, clips] = await Promise.all([startConsoleFixture(), launchChromium(), clipJpegs(10)]);
    cameras = startCameras(fixture.producer, ['yard', 'gate'], 5, clips);
    const [jpeg = Buffer.of()] = clips[0] ?? [];
    const seen = Array.from({ length: 30 }, (_, i) =>
      detectedFrame('dock', i, dayAgo + i * 100, jpeg, i === 7 ? [CAT] : [PERSON]),
    );
    await annotate(fixture.store, seen);
    const record = toLambdaRecord(
      { topic: 'video-frames', partition: 0, offset: '12345', timestamp: 1 },
      { key: 'yard', value: Buffer.from('no picture'), headers: { stream_id: 'yard' } },
    );
    const failed = { stage: 'detect', reason: 'not a JPEG', time: '2026-11-25T07:00:00Z', record };
    await fixture.store.put({
      key: failedKey('detect', record),
      body: JSON.stringify(failed),
      contentType: 'application/json',
    });
  });
  afterAll(async () => {
    await browser?.close();
    await cameras?.stop();
    await fixture?.stop();
  });

  /** A tab on a view; it fails the test when the page has thrown or been refused something. */
  async function open(hash: string, options: BrowserContextOptions = {}): Promise<Page> {
    const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
    const page = await context.newPage();
    const errors: string[] = [];
    page.on('pageerror', (error) => errors.push(error.message));
    page.on('console', (message) => {
      if (message.type() === 'error' && /Content Security Policy/.test(message.text()))
        errors.push(message.text());
    });
    onTestFinished(async () => {
      await context.close();
      expect(errors).toEqual([]);
    });
    await page.goto(`${fixture.url}/${hash}`);
    return page;
  }

  const shownFrame = (page: Page, selector: string) => page.locator(selector).getAttribute('data-frame');

  /** Waits until the canvas shows another frame than `before`. */
  async function nextFrame(page: Page, selector: string, before: string | null): Promise<string | null> {
    await page.waitForFunction(
      ([css, old]) => {
        const now = document.querySelector<HTMLElement>(css ?? '')?.dataset.frame;
        return now !== undefined && now !== old;
      },
      [selector, before],
      { timeout: 20_000 },
    );
    return shownFrame(page, selector);
  }

  /** Whether the pixel of the large picture has the colour of the class, as annotated pictures have it. */
  async function pixel(page: Page, x: number, y: number): Promise<number[]> {
    return page.locator('canvas.screen').evaluate(
      (canvas, [left = 0, top = 0]) => {
        const context = (canvas as HTMLCanvasElement).getContext('2d');
        return [...(context?.getImageData(left, top, 1, 1).data ?? [])].slice(0, 3);
      },
      [x, y],
    );
  }

  test('live frames move, within a second of the first paint', async () => {
    const page = await open('#/');
    for (const stream of ['gate', 'yard']) {
      const selector = `a[href="#/stream/${stream}"] canvas`;
      const first = await nextFrame(page, selector, null);
      const second = await nextFrame(page, selector, first);
      expect(Number.parseInt(second ?? '', 10)).toBeGreaterThan(Number.parseInt(first ?? '', 10));
    }
    expect(await page.locator('.state.live').count()).toBe(2);
    const paint = await page.evaluate(
      () => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? Number.NaN,
    );
    expect(paint).toBeLessThan(1_000);
  });

  test('a box is where the detection says, and filters filter', async () => {
    const page = await open('#/stream/yard');
    await nextFrame(page, 'canvas.screen', null);
    await page.getByRole('button', { name: 'Pause' }).click();
    const [x1, y1, , y2] = PERSON.bbox;
    const edge = [x1, Math.round((y1 + y2) / 2)] as const;
    // hsl(0 85% 50%), the colour of class 0.
    const red = [236, 19, 19];
    const isRed = async () =>
      (await pixel(page, ...edge)).every((part, i) => Math.abs(part - (red[i] ?? 0)) < 12);
    expect(await isRed()).toBe(true);
    expect((await pixel(page, edge[0] - 4, edge[1])).every((part, i) => part === red[i])).toBe(false);
    const rows = page.locator('tbody tr');
    expect(await rows.count()).toBe(2);

    await page.getByLabel('Least confidence').fill('0.5');
    expect(await rows.count()).toBe(1);
    await page.getByLabel('Boxes').uncheck();
    expect(await isRed()).toBe(false);
    await page.getByLabel('Boxes').check();
    expect(await isRed()).toBe(true);
    await page.getByRole('checkbox', { name: 'person' }).uncheck();
    expect(await isRed()).toBe(false);
    expect(await rows.count()).toBe(0);
  });

  test('the keyboard pauses, steps through frames and goes back to live', async () => {
    const page = await open('#/stream/yard');
    await nextFrame(page, 'canvas.screen', await nextFrame(page, 'canvas.screen', null));
    await page.keyboard.press('Space');
    await page.getByRole('button', { name: 'Back to live' }).waitFor();
    const number = async () => Number((await shownFrame(page, 'canvas.screen'))?.split('-')[1]);
    await page.waitForTimeout(500);
    const paused = await number();
    await page.waitForTimeout(700);
    expect(await number()).toBe(paused);
    await page.keyboard.press('ArrowLeft');
    await expect.poll(number).toBe(paused - 1);
    await page.keyboard.press('ArrowRight');
    await expect.poll(number).toBe(paused);
    await page.keyboard.press('Space');
    await expect.poll(number).toBeGreaterThan(paused);
    const json = page.getByRole('link', { name: 'Download JSON' });
    expect(await json.getAttribute('href')).toMatch(/^\/api\/streams\/yard\/frames\/\d+-\d+\.json$/);
  });

  test('search finds, page by page, and shows what it found', async () => {
    const page = await open('#/search');
    await page.getByRole('status').filter({ hasText: '24 frames, back to' }).waitFor();
    await page.getByRole('button', { name: 'More' }).click();
    await page.getByRole('status').filter({ hasText: '30 frames, all there are' }).waitFor();
    await page.getByLabel('Class').fill('cat');
    await page.getByLabel('Class').press('Enter');
    await page.getByRole('status').filter({ hasText: '1 frame, all there are' }).waitFor();
    const thumbnail = page.locator('.grid img');
    await expect.poll(() => thumbnail.evaluate((img) => (img as HTMLImageElement).naturalWidth)).toBe(400);
    await page.locator('.grid button').press('Enter');
    expect(await page.getByRole('dialog').textContent()).toContain('dock, frame 7');
    await page.keyboard.press('Escape');
    expect(await page.getByRole('dialog').count()).toBe(0);
  });

  test('a failed record is listed, and put back from the keyboard', async () => {
    const page = await open('#/');
    await page.getByRole('link', { name: 'Failed 1' }).press('Enter');
    await page.getByRole('cell', { name: 'not a JPEG' }).waitFor();
    await page.getByRole('button', { name: 'Put video-frames-0-12345 back' }).press('Enter');
    await page.getByRole('status').filter({ hasText: 'back on its topic' }).waitFor();
    expect(await page.locator('tbody tr').count()).toBe(0);
  });

  test.each(['light', 'dark'] as const)(
    'axe finds nothing serious, and a phone needs no sideways scroll: %s',
    async (colorScheme) => {
      const page = await open('#/', { colorScheme, viewport: { width: 390, height: 844 }, bypassCSP: true });
      await page.addScriptTag({ path: AXE });
      for (const hash of ['#/', '#/stream/yard', '#/flow', '#/search', '#/failed']) {
        await page.evaluate((to) => {
          location.hash = to;
        }, hash);
        await page.waitForTimeout(1_500);
        const wide = await page.evaluate(() => document.documentElement.scrollWidth);
        expect(wide, hash).toBeLessThanOrEqual(390);
        const serious = await page.evaluate(async () => {
          const { violations } = await (
            globalThis as unknown as { axe: typeof import('axe-core') }
          ).axe.run();
          return violations
            .filter(({ impact }) => impact === 'serious' || impact === 'critical')
            .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`);
        });
        expect(serious, hash).toEqual([]);
      }
    },
  );

  test('an outage of Kafka shows, and clears when it is over', async () => {
    const page = await open('#/');
    const canvas = 'a[href="#/stream/yard"] canvas';
    await nextFrame(page, canvas, null);
    const outages = page.locator('#outages');
    expect(await outages.textContent()).toBe('');
    await fixture.kafka.kill();
    await outages.getByText("Kafka can't be reached since").waitFor({ timeout: 30_000 });
    await fixture.restartKafka();
    await expect.poll(() => outages.textContent(), { timeout: 30_000 }).toBe('');
    await nextFrame(page, canvas, await shownFrame(page, canvas));
  });
});

import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { describe, expect, inject, onTestFinished } from 'vitest';
import { hasChromium, launchChromium } from './chromium.ts';
import {
  type ConsoleFixture,
  type ConsoleOptions,
  clipJpegs,
  HEIGHT,
  startCameras,
  startConsoleFixture,
  WIDTH,
} from './console-fixture.ts';

/** `describe`, where there is a Chromium. */
export const describeInChromium = describe.skipIf(!hasChromium);

/** The page of the console, in a browser, while two cameras send. */
export interface ConsoleTabs {
  fixture: ConsoleFixture;
  browser: Browser;
  /** A picture of the cameras'. */
  jpeg: Buffer;
  /** A tab on a view; it fails the test when the page has thrown or been refused something. */
  open(hash: string, options?: BrowserContextOptions): Promise<Page>;
  close(): Promise<void>;
}

/** On the Kafka that all test files share, where there is one and `options` don't say otherwise. */
export async function openConsole(options: ConsoleOptions = {}): Promise<ConsoleTabs> {
  const [fixture, browser, clips] = await Promise.all([
    startConsoleFixture({ kafka: inject('kafka'), ...options }),
    launchChromium(),
    clipJpegs(10),
  ]);
  const cameras = startCameras(fixture, ['yard', 'gate'], 2, clips);
  return {
    fixture,
    browser,
    jpeg: clips[0]?.[0] ?? Buffer.of(),
    open: (hash, options) => openTab(browser, `${fixture.url}/${hash}`, options),
    async close() {
      await browser.close();
      await cameras.stop();
      await fixture.stop();
    },
  };
}

async function openTab(browser: Browser, url: string, options: BrowserContextOptions = {}): Promise<Page> {
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
  await page.goto(url);
  return page;
}

/** @returns `<captured_at>-<frame_number>` of the frame that a canvas shows */
export function shownFrame(page: Page, selector: string): Promise<string | null> {
  return page.locator(selector).getAttribute('data-frame');
}

/** Waits until the canvas shows another frame than `before`. */
export async function nextFrame(page: Page, selector: string, before: string | null): Promise<string | null> {
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

/** Red, green and blue of a pixel of the large picture. */
export async function pixel(page: Page, [x, y]: readonly [number, number]): Promise<number[]> {
  return page.locator('canvas.screen').evaluate(
    (canvas, [left = 0, top = 0]) => {
      const context = (canvas as HTMLCanvasElement).getContext('2d');
      return [...(context?.getImageData(left, top, 1, 1).data ?? [])].slice(0, 3);
    },
    [x, y],
  );
}

/** Whether a pixel of the large picture has a colour, but for what scaling makes of it. */
export async function isNear(
  page: Page,
  place: readonly [number, number],
  colour: readonly number[],
): Promise<boolean> {
  return (await pixel(page, place)).every((part, i) => Math.abs(part - (colour[i] ?? 0)) < 12);
}

/** @returns where on the page a place of the large picture is, relative to the picture */
export async function pictureOf(page: Page): Promise<(place: readonly [number, number]) => [number, number]> {
  const screen = page.locator('canvas.screen');
  // A form may have scrolled the page.
  await screen.scrollIntoViewIfNeeded();
  const canvas = await screen.boundingBox();
  if (!canvas) throw new Error('no picture is shown');
  const scale = Math.min(canvas.width / WIDTH, canvas.height / HEIGHT);
  const left = canvas.x + (canvas.width - WIDTH * scale) / 2;
  const top = canvas.y + (canvas.height - HEIGHT * scale) / 2;
  return ([x, y]) => [left + x * WIDTH * scale, top + y * HEIGHT * scale];
}

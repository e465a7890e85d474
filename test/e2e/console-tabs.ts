import type { Browser, BrowserContextOptions, CDPSession, Page } from 'playwright-core';
import { describe, expect, inject, onTestFinished } from 'vitest';
import { hasChromium, sharedChromium } from './chromium.ts';
import {
  type ConsoleFixture,
  type ConsoleOptions,
  cameraJpegs,
  HEIGHT,
  startCameras,
  startConsoleFixture,
  WIDTH,
} from './console-fixture.ts';

/** `describe`, skipped without a Chromium. */
export const describeInChromium = describe.skipIf(!hasChromium);

/** Addresses of the page's views. */
export const VIEWS = [
  '#/',
  '#/stream/yard',
  '#/cameras',
  '#/flow',
  '#/search',
  '#/events',
  '#/timeline?stream=dock',
  '#/failed',
] as const;
/** The page of the console, in a browser, while two cameras send. */
export interface ConsoleTabs {
  fixture: ConsoleFixture;
  browser: Browser;
  /** A picture of the cameras'. */
  jpeg: Buffer;
  /** Opens a tab on a view. The test fails if the page throws, or if a request of the page is rejected. */
  open(hash: string, options?: TabOptions): Promise<Page>;
  close(): Promise<void>;
}

interface TabOptions extends BrowserContextOptions {
  /** Called with the tab before it opens the address. */
  prepare?: (page: Page) => Promise<void>;
}

/**
 * Uses the Kafka that all test files share, if there is one and `options` do not name another.
 * @param options.sending streams of the cameras that send
 */
export async function openConsole({
  sending = ['yard', 'gate'],
  ...options
}: ConsoleOptions & { sending?: readonly string[] } = {}): Promise<ConsoleTabs> {
  const [fixture, browser, clips] = await Promise.all([
    startConsoleFixture({ kafka: inject('kafka'), ...options }),
    sharedChromium(),
    cameraJpegs(),
  ]);
  const cameras = startCameras(fixture, sending, 2, clips);
  return {
    fixture,
    browser,
    jpeg: clips[0]?.[0] ?? Buffer.of(),
    open: (hash, options) => openTab(browser, `${fixture.url}/${hash}`, options),
    async close() {
      await cameras.stop();
      await fixture.stop();
    },
  };
}

async function openTab(
  browser: Browser,
  url: string,
  { prepare, ...options }: TabOptions = {},
): Promise<Page> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  await prepare?.(page);
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

/** Waits until the canvas shows a frame other than `before`. */
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

/** Whether a pixel of the large picture has a colour, apart from the errors of scaling. */
export async function isNear(
  page: Page,
  place: readonly [number, number],
  colour: readonly number[],
): Promise<boolean> {
  return (await pixel(page, place)).every((part, i) => Math.abs(part - (colour[i] ?? 0)) < 12);
}

/** @returns the position on the page of a point that is relative to the large picture */
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

/** Requests and times of a tab until its view was painted with its heading. */
export interface FirstPaint {
  /** Milliseconds after the tab began to open the address. */
  ms: number;
  /** CPU milliseconds of the page's main thread. */
  cpuMs: number;
  /** Without requests of the API. */
  files: number;
  bytes: number;
  /** Files that block the first paint. */
  blocking: string[];
}

/** @param unanswered requests that never get an answer */
export async function firstPaint(
  { open }: ConsoleTabs,
  hash: string,
  unanswered?: RegExp,
): Promise<FirstPaint> {
  let cdp: CDPSession | undefined;
  const page = await open(hash, {
    async prepare(page) {
      if (unanswered) await page.route(unanswered, () => {});
      await page.addInitScript(() => {
        const note = () => document.querySelector('h1') && performance.mark('heading') && seen.disconnect();
        const seen = new MutationObserver(note);
        seen.observe(document, { childList: true, subtree: true });
      });
      cdp = await page.context().newCDPSession(page);
      // The time of other processes does not count.
      await cdp.send('Performance.enable', { timeDomain: 'threadTicks' });
    },
  });
  await page.locator('h1').waitFor();
  await page.waitForFunction(() => performance.getEntriesByName('first-contentful-paint').length > 0);
  const { metrics = [] } = (await cdp?.send('Performance.getMetrics')) ?? {};
  const seconds = metrics.find(({ name }) => name === 'TaskDuration')?.value ?? Number.NaN;
  const loaded = await page.evaluate(() => {
    const [paint] = performance.getEntriesByName('first-contentful-paint');
    const [heading] = performance.getEntriesByName('heading');
    const entries = performance.getEntriesByType('resource') as PerformanceResourceTiming[];
    // Code of the other views comes later.
    const files = entries.filter(
      ({ name, startTime }) => !name.includes('/api/') && startTime < (heading?.startTime ?? Number.NaN),
    );
    return {
      ms: paint?.startTime ?? Number.NaN,
      files: files.length,
      bytes: files.reduce((sum, { decodedBodySize }) => sum + decodedBodySize, 0),
      blocking: files
        .filter((file) => 'renderBlockingStatus' in file && file.renderBlockingStatus === 'blocking')
        .map(({ name }) => name.split('/').at(-1) ?? ''),
    };
  });
  return { ...loaded, cpuMs: seconds * 1_000 };
}

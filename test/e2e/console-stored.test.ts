import { archiveSpanOf, eventKey, HOUR_MS } from '@video-pipeline/frame';
import type { Page, Route } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { annotate, detectedFrame, PERSON, sceneEvent } from './console-fixture.ts';
import { type ConsoleTabs, describeInChromium, openConsole } from './console-tabs.ts';

/** In the page itself, since the hour ends two seconds later, and would begin the next one. */
const pauseAfter = (video: Element, seconds: number) =>
  new Promise<void>((resolve) => {
    const player = video as HTMLVideoElement;
    player.addEventListener('timeupdate', function pause() {
      if (player.currentTime <= seconds) return;
      player.removeEventListener('timeupdate', pause);
      player.pause();
      resolve();
    });
  });

/** Cameras that do not send now. */
const LISTED = '- id: shed\n  url: rtsp://cam/1\n- id: loft\n  url: rtsp://cam/2\n';
const LONG = { timeout: 20_000 };
const iso = (time: number) => new Date(time).toISOString();
const NOT_KEPT = 'This picture was not kept: STORE=events keeps those around events and detections of cat.';

describeInChromium('stored pictures on the page', () => {
  let tabs: ConsoleTabs;
  beforeAll(async () => {
    tabs = await openConsole({
      env: { STORE: 'events', STORE_CLASSES: 'cat', DRAW_BOXES: 'off' },
      list: LISTED,
      sending: [],
    });
  });
  afterAll(() => tabs?.close());

  test('a picture that was not stored is replaced by the reason, in each view', async () => {
    const { store } = tabs.fixture;
    const withoutPictures = {
      ...store,
      put: async (object: Parameters<typeof store.put>[0]) =>
        object.key.endsWith('.jpg') ? undefined : store.put(object),
    };
    const at = Date.now() - 600_000;
    const frames = [at - 100, at].map((time, i) => detectedFrame('shed', i, time, tabs.jpeg));
    await annotate(withoutPictures, frames);
    const event = sceneEvent('shed', 1, at);
    await store.put({ key: eventKey(event), body: JSON.stringify(event), contentType: 'application/json' });

    const search = await tabs.open('#/search?stream=shed');
    const reasons = search.locator('.grid .missing');
    await reasons.nth(1).waitFor(LONG);
    expect(await reasons.allTextContents()).toEqual([NOT_KEPT, NOT_KEPT]);
    await search.locator('.grid button').first().press('Enter');
    await search.getByRole('dialog').getByText(NOT_KEPT).waitFor(LONG);

    const events = await tabs.open('#/events?stream=shed');
    await events.locator('.event .missing').getByText(NOT_KEPT).waitFor(LONG);
    await events.getByRole('link', { name: 'person t-1 entered lawn' }).click();
    await events.getByRole('dialog').getByText(NOT_KEPT).waitFor(LONG);

    const timeline = await tabs.open(`#/timeline?stream=shed&around=${at}`);
    await timeline.locator('.preview').getByText(NOT_KEPT).waitFor(LONG);

    const wall = await tabs.open('#/');
    await wall.getByRole('listitem').filter({ hasText: `last frame` }).getByText(NOT_KEPT).waitFor(LONG);
  });

  test('the grid requests a stored frame and its picture again after an error', async () => {
    await annotate(tabs.fixture.store, [detectedFrame('loft', 0, Date.now() - 600_000, tabs.jpeg)]);
    const asked: string[] = [];
    const faulty = async (route: Route, times: number) => {
      asked.push(new URL(route.request().url()).pathname);
      if (asked.length > times) return route.continue();
      await route.fulfill({ status: 502, json: { error: 'S3 does not answer' } });
    };
    const prepare = async (page: Page) => {
      await page.route('**/streams/loft/last', (route) => faulty(route, 1));
      await page.route('**/streams/loft/annotated/*', (route) => faulty(route, 4));
    };
    const wall = await tabs.open('#/', { prepare });
    const loft = wall.getByRole('listitem').filter({ hasText: 'loft' });
    await loft.getByAltText('The last picture of loft').waitFor({ timeout: 60_000 });
    await loft.getByText('last picture').waitFor(LONG);
    await expect
      .poll(() => loft.locator('img').evaluate((image) => (image as HTMLImageElement).naturalWidth), LONG)
      .toBeGreaterThan(0);
    expect(asked.filter((path) => path.endsWith('/last'))).toHaveLength(3);
  }, 90_000);

  test('a click on the timeline of a day plays the video from there, with boxes, also after failed requests', async () => {
    const hour = Math.floor(Date.now() / HOUR_MS) * HOUR_MS - HOUR_MS;
    // Over the end of the hour, and with a pause in the second one.
    const times = [...Array(60).keys()].map((i) => hour + HOUR_MS - 2_500 + i * 100 + (i < 50 ? 0 : 20_000));
    const frames = times.map((time, i) => detectedFrame('pier', i, time, tabs.jpeg, [PERSON]));
    await annotate(tabs.fixture.store, frames, 'video', false);
    const at = times[10] ?? 0;
    const failed = new Set<string>();
    const failOnce = async (route: Route, when?: Promise<unknown>) => {
      const url = route.request().url();
      if (failed.has(url)) return route.continue();
      failed.add(url);
      await when;
      await route.fulfill({ status: 502, json: { error: 'S3 does not answer' } }).catch(() => {});
    };
    let isOver: Promise<unknown> | undefined;
    const prepare = async (page: Page) => {
      const ended = () => {
        const { ended, currentTime } = document.querySelector('video') ?? {};
        return ended && (currentTime ?? 0) < 1_000;
      };
      isOver = page.waitForFunction(ended, undefined, { timeout: 60_000 }).catch(() => {});
      // The detections come after the last picture of the second hour is shown.
      await page.route('**/video/**/*.vtt', (route) => failOnce(route, isOver));
      await page.route(/\/api\/history|-50-59\.mp4$/, (route) => failOnce(route));
    };
    const range = `from=${iso(at - 30_000)}&to=${iso(at + 30_000)}`;
    const page = await tabs.open(`#/timeline?stream=pier&${range}`, { prepare });
    const plot = page.locator('.u-over');
    await plot.waitFor(LONG);
    const box = await plot.boundingBox();
    if (!box) throw new Error('no chart is shown');
    const video = page.locator('.preview video');
    const time = () => video.evaluate((one) => (one as HTMLVideoElement).currentTime);
    /** Capture times of the first segment that is asked for. */
    const segmentAfter = async (act: () => Promise<void>) => {
      const asked = page.waitForRequest(/\.mp4$/);
      await act();
      return archiveSpanOf((await asked).url());
    };
    const first = { from: times[0], to: times[24] };
    const [x1, y1, , y2] = PERSON.bbox;
    const edge = () =>
      page.locator('.preview .over').evaluate(
        (one, [x = 0, y = 0]) => {
          const canvas = one as HTMLCanvasElement;
          return [canvas.width, ...(canvas.getContext('2d')?.getImageData(x, y, 1, 1).data ?? [])];
        },
        [x1, Math.round((y1 + y2) / 2)],
      );
    const click = () => page.mouse.click(box.x + box.width / 2, box.y + 20);
    expect(await segmentAfter(click)).toEqual(first);
    // hsl(0 85% 50%), the colour of class 0.
    await expect.poll(edge, { timeout: 60_000 }).toEqual([400, 236, 19, 19, 255]);
    await page.getByLabel('Boxes').uncheck();
    expect((await edge()).at(-1)).toBe(0);
    await page.getByLabel('Boxes').check();
    // It goes on in the next hour, whose media time starts anew, and leaves out the pause.
    await expect.poll(time, LONG).toBeLessThan(1_000);
    await expect.poll(time, LONG).toBeGreaterThan(22);
    await page.getByRole('button', { name: 'Stop' }).click();
    expect(await video.isVisible()).toBe(false);
    const playhead = page.getByRole('slider', { name: 'Playhead' });
    const bar = await playhead.boundingBox();
    if (!bar) throw new Error('there is no playhead');
    const drag = async () => {
      const share = (Number(await playhead.inputValue()) - at + 30_000) / 60_000;
      const [left, width, y] = [bar.x + 8, bar.width - 16, bar.y + bar.height / 2];
      await page.mouse.move(left + share * width, y);
      await page.mouse.down();
      await page.mouse.move(left + width / 2, y, { steps: 4 });
      await page.mouse.up();
    };
    expect(await segmentAfter(drag)).toEqual(first);
    expect(Math.abs(Number(await playhead.inputValue()) - at)).toBeLessThan(5_000);
    // What is loaded already is not asked for again.
    await video.evaluate(pauseAfter, 3_598);
    const paused = await time();
    const lists: string[] = [];
    page.on('request', (one) => one.url().endsWith('.m3u8') && lists.push(one.url()));
    await playhead.press('ArrowLeft');
    await expect.poll(time, LONG).toBeLessThan(paused);
    expect(lists).toEqual([]);
    expect(await segmentAfter(() => playhead.press('Home'))).toEqual(first);
    await page.mouse.click(box.x + box.width - 2, box.y + 20);
    await page.getByText('no video of this time is stored').waitFor(LONG);
    expect(failed.size).toBe(5);
    // What is gone within an hour says so.
    const gone = { status: 404, json: { error: 'no such video is stored' } };
    await page.route(/-50-59\.mp4$/, (route) => route.fulfill(gone));
    await page.mouse.click(box.x + box.width * 0.545, box.y + 20);
    await page.getByText("This can't be played: no such video is stored").waitFor(LONG);
  });
});

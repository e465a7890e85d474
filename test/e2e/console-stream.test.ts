import type { DetectedFrame, Detection } from '@video-pipeline/frame';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { classColour, trackColour } from '../../functions/src/drawing/colour.ts';
import type { Timeline } from '../../packages/console/src/api.ts';
import { unique } from '../support/unique.ts';
import { annotate, detectedFrame, PERSON, publish, sceneEvent } from './console-fixture.ts';
import {
  type ConsoleTabs,
  describeInChromium,
  isNear,
  nextFrame,
  openConsole,
  pixel,
  shownFrame,
} from './console-tabs.ts';

const YARD = '#/stream/yard';

describeInChromium('the page of a stream', () => {
  let tabs: ConsoleTabs;
  beforeAll(async () => {
    tabs = await openConsole();
  });
  afterAll(() => tabs?.close());

  /** Somebody walks to the right, feet at 200 of 300 pixels, from 100 to 250 of 400. */
  function walk(streamId: string, trackId: string): DetectedFrame[] {
    const now = Date.now();
    return Array.from({ length: 16 }, (_, i) => {
      const x = 100 + i * 10;
      const bbox: Detection['bbox'] = [x - 50, 100, x + 50, 200];
      return detectedFrame(streamId, i, now - 1_600 + i * 100, tabs.jpeg, [
        { ...PERSON, bbox, track_id: trackId },
      ]);
    });
  }

  test('the timeline counts detections by class, and destroys the charts that it replaces', async () => {
    const page = await tabs.open(YARD);
    const timeline = page.getByRole('img', { name: /^Detections since .*person \d+/ });
    await timeline.waitFor();
    expect(await timeline.getAttribute('aria-label')).toMatch(/cat \d+/);
    const answer = page.waitForResponse(/minutes=360/);
    await page.getByRole('button', { name: '6 hours' }).click();
    const { classes, bins }: Timeline = await (await answer).json();
    // The newest bar, too, is within the chart.
    const at = ((classes.person?.findLastIndex((count) => count > 0) ?? 0) + 0.5) / bins;
    const colourAt = (part: number) =>
      timeline.evaluate((chart, part) => {
        const [canvas, plot] = [chart.querySelector('canvas'), chart.querySelector('.u-over')];
        if (!canvas || !plot) return 0;
        const [all, { left, width, bottom }] = [canvas.getBoundingClientRect(), plot.getBoundingClientRect()];
        const [x, y] = [left - all.left + part * width, bottom - all.top - 3];
        const rgb = [...(canvas.getContext('2d')?.getImageData(x, y, 1, 1).data ?? [])].slice(0, 3);
        return Math.max(...rgb) - Math.min(...rgb);
      }, part);
    await expect.poll(() => colourAt(at)).toBeGreaterThan(100);
    expect(await page.getByRole('button', { name: '6 hours' }).getAttribute('aria-pressed')).toBe('true');
    const cdp = await page.context().newCDPSession(page);
    /** Elements and texts in memory, whether they are on the page or not. */
    const nodes = async () => {
      await cdp.send('HeapProfiler.collectGarbage');
      return (await cdp.send('Memory.getDOMCounters')).nodes;
    };
    const redraw = async (name: string) => {
      const answer = page.waitForResponse(/\/timeline\?minutes=/);
      await page.getByRole('button', { name }).click();
      await answer;
    };
    await redraw('1 hour');
    const before = await nodes();
    for (let i = 0; i < 10; i += 1) for (const span of ['15 minutes', '1 hour']) await redraw(span);
    // A chart has over thirty, with its legend.
    expect(await nodes()).toBeLessThan(before + 200);
  });

  test('a box is drawn at its coordinates, and filters hide boxes', async () => {
    const page = await tabs.open(YARD);
    await nextFrame(page, 'canvas.screen', null);
    await page.getByRole('button', { name: 'Pause' }).click();
    const [x1, y1, , y2] = PERSON.bbox;
    const edge = [x1, Math.round((y1 + y2) / 2)] as const;
    // hsl(0 85% 50%), the colour of class 0.
    const red = [236, 19, 19];
    const isRed = () => isNear(page, edge, red);
    expect(await isRed()).toBe(true);
    expect((await pixel(page, [edge[0] - 4, edge[1]])).every((part, i) => part === red[i])).toBe(false);
    const rows = page.getByRole('table', { name: 'Detections of this frame' }).locator('tbody tr');
    expect(await rows.count()).toBe(2);

    await page.getByLabel('Minimum confidence').fill('0.5');
    expect(await rows.count()).toBe(1);
    await page.getByLabel('Boxes').uncheck();
    expect(await isRed()).toBe(false);
    await page.getByLabel('Boxes').check();
    expect(await isRed()).toBe(true);
    await page.getByRole('checkbox', { name: 'person' }).uncheck();
    expect(await isRed()).toBe(false);
    expect(await rows.count()).toBe(0);
  });

  test('keys pause, step through frames and return to live', async () => {
    const page = await tabs.open(YARD);
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

  test('zones and lines are drawn as in the list of streams, and trails as the tracks moved', async () => {
    const yard = await tabs.open(YARD);
    await nextFrame(yard, 'canvas.screen', null);
    const list = yard.getByRole('group', { name: 'Zones and lines' });
    await expect.poll(() => list.locator('.name').allTextContents()).toEqual(['zone lawn', 'line gate']);
    await yard.getByRole('button', { name: 'Pause' }).click();
    const [edgeOfHole, onLine] = [
      [310, 60],
      [200, 240],
    ] as const;
    expect(await isNear(yard, edgeOfHole, [0, 229, 255])).toBe(true);
    expect(await isNear(yard, onLine, [255, 214, 10])).toBe(true);
    await yard.getByLabel('Zones and lines').uncheck();
    expect(await isNear(yard, edgeOfHole, [0, 229, 255])).toBe(false);
    expect(await isNear(yard, onLine, [255, 214, 10])).toBe(false);

    const walked = unique('path');
    await publish(tabs.fixture, walk(walked, 't-1'));
    const path = await tabs.open(`#/stream/${walked}`);
    await nextFrame(path, 'canvas.screen', null);
    await path.getByRole('button', { name: 'Pause' }).click();
    const [way, box] = [
      [150, 200],
      [300, 150],
    ] as const;
    await expect.poll(() => isNear(path, way, trackColour('t-1'))).toBe(true);
    // As the legend has it.
    expect(await isNear(path, box, classColour(PERSON.class_id))).toBe(true);
    await path.getByLabel('Trails of tracks').uncheck();
    expect(await isNear(path, way, trackColour('t-1'))).toBe(false);
  });

  test('new events are added to the list, with the frames before and after each', async () => {
    const dock = unique('dock');
    const page = await tabs.open(`#/stream/${dock}`);
    await page.getByText('Nothing has happened').waitFor();
    const event = sceneEvent(dock, 1, Date.now() - 86_400_000);
    const seen = [event.at - 100, event.at].map((time, i) => detectedFrame(dock, i, time, tabs.jpeg));
    await annotate(tabs.fixture.store, seen);
    await tabs.fixture.producer.send({
      topic: tabs.fixture.topics.events,
      messages: [{ key: dock, value: JSON.stringify(event) }],
    });
    const item = page.getByRole('listitem').filter({ hasText: 'person t-1 entered lawn' });
    await item.waitFor();
    expect(await item.textContent()).toContain('intruder');
    const frames = item.locator('img');
    await expect
      .poll(() => frames.last().evaluate((img) => (img as HTMLImageElement).naturalWidth))
      .toBe(400);
    expect(await frames.count()).toBe(2);
    const clip = await item.getByRole('link', { name: 'Clip' }).getAttribute('href');
    expect((await fetch(`${tabs.fixture.url}${clip}`)).headers.get('content-type')).toBe('image/webp');
  });
});

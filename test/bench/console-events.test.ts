import { annotatedKey, eventKey } from '@video-pipeline/frame';
import { createReader, createStore, inParallel } from '@video-pipeline/storage';
import { compact } from '@video-pipeline/tables';
import type { CDPSession } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { sceneEvent } from '../e2e/console-fixture.ts';
import { type ConsoleTabs, describeInChromium, openConsole } from '../e2e/console-tabs.ts';

const CAMERAS = 1_000;
const EVENTS = 10_000;
/** Rows that one frame goes down: the whole list in some seconds. */
const ROWS_A_FRAME = 12;

describeInChromium(`events of ${CAMERAS} cameras`, () => {
  let tabs: ConsoleTabs;
  beforeAll(async () => {
    tabs = await openConsole();
    const { store, storage } = tabs.fixture;
    const end = Date.now() - 3_600_000;
    const keyOf = (camera: number) =>
      annotatedKey('annotated', { streamId: `camera-${camera}`, capturedAt: end, frameNumber: 0 });
    const picture = { body: tabs.jpeg, contentType: 'image/jpeg' };
    const puts = Array.from({ length: CAMERAS }, (_, camera) => ({ key: keyOf(camera), ...picture }));
    const events = Array.from({ length: EVENTS }, (_, number) => ({
      ...sceneEvent(`camera-${number % CAMERAS}`, number, end - number * 5_000),
      frames: [keyOf(number % CAMERAS)],
    }));
    const told = events.map((event) => ({ key: eventKey(event), body: JSON.stringify(event) }));
    const objects = [...puts, ...told.map((event) => ({ ...event, contentType: 'application/json' }))];
    await inParallel(objects, 16, store.put);
    await compact({ ...createReader(storage), ...createStore(storage) }, { all: true, part: 'events' });
  }, 600_000);
  afterAll(() => tabs?.close());

  test(`${EVENTS} scroll at under 16 ms a frame, and do not increase memory`, async () => {
    const page = await tabs.open('#/events');
    await page.locator('.event').first().waitFor();
    const cdp = await page.context().newCDPSession(page);
    const before = await memoryOf(cdp);
    const list = page.locator('.virtual');
    // All are loaded first, so that each frame of the trace scrolls and none waits.
    await expect
      .poll(
        async () => {
          await list.evaluate((element) => element.scrollTo(0, element.scrollHeight));
          return page.locator('.event').last().getAttribute('aria-posinset');
        },
        { timeout: 120_000, interval: 50 },
      )
      .toBe(String(EVENTS));
    await list.evaluate((element) => element.scrollTo(0, 0));
    const categories = ['devtools.timeline', 'toplevel', 'disabled-by-default-devtools.timeline.frame'];
    await tabs.browser.startTracing(page, { categories });
    const frames = await list.evaluate(async (element, step) => {
      let count = 0;
      for (let top = -1; element.scrollTop > top; count++) {
        top = element.scrollTop;
        element.scrollTop += step;
        await new Promise(requestAnimationFrame);
      }
      return count;
    }, 76 * ROWS_A_FRAME);
    const trace = await tabs.browser.stopTracing();
    const { traceEvents } = JSON.parse(trace.toString());
    const work = frameTimes(traceEvents);
    const costs = costsOf(traceEvents, frames);
    const cpu = Object.values(costs).reduce((sum, ms) => sum + ms, 0);
    console.log('CPU milliseconds a frame', cpu, costs);
    const after = await memoryOf(cdp);
    const at = (share: number) => work[Math.floor(work.length * share)];
    console.log({ frames, work: { p50: at(0.5), p95: at(0.95), p99: at(0.99) }, before, after });
    expect(await page.locator('.event').last().getAttribute('aria-posinset')).toBe(String(EVENTS));
    expect(work.length).toBeGreaterThan(EVENTS / ROWS_A_FRAME / 2);
    expect(at(0.5)).toBeLessThan(16);
    // Other load changes it little.
    expect(cpu).toBeLessThan(12);
    expect(after.nodes).toBeLessThan(before.nodes * 1.2);
    // The events themselves, about 1 KB each.
    expect(after.heap - before.heap).toBeLessThan(EVENTS * 2);
  });
});

async function memoryOf(cdp: CDPSession) {
  await cdp.send('HeapProfiler.collectGarbage');
  const { nodes, jsEventListeners } = await cdp.send('Memory.getDOMCounters');
  const { usedSize } = await cdp.send('Runtime.getHeapUsage');
  return { nodes, jsEventListeners, heap: Math.round(usedSize / 1024) };
}

interface TraceEvent {
  name: string;
  ph: string;
  pid: number;
  tid: number;
  ts: number;
  /** Microseconds, and those of them that the thread had a core. */
  dur?: number;
  tdur?: number;
  args?: { name?: string };
}

const BEGIN = 'BeginMainThreadFrame';

/** Whether an event is of the page's main thread. */
function ofMain(events: readonly TraceEvent[]): (event: TraceEvent) => boolean {
  const first = events.find(({ name }) => name === BEGIN);
  return ({ pid, tid }) => pid === first?.pid && tid === first.tid;
}

/** CPU time of each kind of work of the main thread by itself, milliseconds a frame, the most first. */
function costsOf(events: readonly TraceEvent[], frames: number): Record<string, number> {
  const costs = new Map<string, number>();
  const outer: { name: string; end: number }[] = [];
  const add = (name: string, us: number) => costs.set(name, (costs.get(name) ?? 0) + us / 1000 / frames);
  const timed = events.filter(({ ph, dur }) => ph === 'X' && dur !== undefined).filter(ofMain(events));
  for (const { name, ts, dur = 0, tdur = 0 } of timed.sort(
    (a, b) => a.ts - b.ts || (b.dur ?? 0) - (a.dur ?? 0),
  )) {
    while ((outer.at(-1)?.end ?? Number.POSITIVE_INFINITY) <= ts) outer.pop();
    const around = outer.at(-1);
    if (around) add(around.name, -tdur);
    add(name, tdur);
    outer.push({ name, end: ts + dur });
  }
  const rounded = [...costs].map(([name, ms]) => [name, Math.round(ms * 100) / 100] as const);
  return Object.fromEntries(rounded.filter(([, ms]) => ms > 0.05).sort(([, a], [, b]) => b - a));
}

/** What the page's main thread worked for each frame, milliseconds, the least first. */
function frameTimes(events: readonly TraceEvent[]): number[] {
  const begins = events.filter(({ name }) => name === BEGIN);
  const isMain = ofMain(events);
  const tasks = events.filter((event) => isMain(event) && event.ph === 'X' && /RunTask$/.test(event.name));
  const starts = begins
    .filter(isMain)
    .map(({ ts }) => ts)
    .sort((a, b) => a - b);
  const work = new Array<number>(starts.length).fill(0);
  let frame = -1;
  for (const { ts, dur = 0 } of tasks.sort((a, b) => a.ts - b.ts)) {
    while ((starts[frame + 1] ?? Number.POSITIVE_INFINITY) <= ts + dur) frame++;
    if (frame >= 0) work[frame] = (work[frame] ?? 0) + dur / 1000;
  }
  return work.sort((a, b) => a - b);
}

import { annotatedKey, DAY_MS, detectionsKey, factsOf, HOUR_MS, segmentKey } from '@video-pipeline/frame';
import { createReader, createStore, inParallel, packSegment } from '@video-pipeline/storage';
import { compact } from '@video-pipeline/tables';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { encodeSegment } from '../../functions/src/clip-encoder.ts';
import { clipJpegs, detectedFrame } from '../e2e/console-fixture.ts';
import { type ConsoleTabs, describeInChromium, openConsole } from '../e2e/console-tabs.ts';
import { median } from './processes.ts';

/** Pictures of one segment, and milliseconds from one to the next: 360 segments an hour, of 10 s each. */
const PICTURES = 20;
const INTERVAL_MS = 500;
const SIZE = { width: 1280, height: 720 };
const DAY = Math.floor(Date.now() / DAY_MS) * DAY_MS - DAY_MS;
/** First one moment each of four hours that were never read, then other minutes of the last one. */
const COLD = [9.3, 2.2, 21.6, 12.4].map((hours) => DAY + hours * HOUR_MS);
const WARM = [5, -9, 20, 2, -3].map((minutes) => DAY + 12.4 * HOUR_MS + minutes * 60_000);
const KEYS = 5;

describeInChromium('stored video of a day', () => {
  let tabs: ConsoleTabs;
  beforeAll(async () => {
    console.time('set-up');
    tabs = await openConsole({ env: { STORE: 'video' } });
    console.timeLog('set-up', 'console and browser are started');
    const { store, storage } = tabs.fixture;
    const [jpegs = []] = await clipJpegs(PICTURES, SIZE);
    const first = await encodeSegment(jpegs.map((jpeg, i) => ({ capturedAt: DAY + i * INTERVAL_MS, jpeg })));
    for (const moment of COLD) await storeHour(store, Math.floor(moment / HOUR_MS) * HOUR_MS, first);
    console.timeLog('set-up', `${COLD.length} hours are stored, segments of ${first.length} bytes`);
    await compact({ ...createReader(storage), ...createStore(storage) }, { all: true });
    console.timeEnd('set-up');
  }, 180_000);
  afterAll(() => tabs?.close());

  test('the picture at a released playhead is shown in under a second', async () => {
    const range = new URLSearchParams({ from: iso(DAY), to: iso(DAY + DAY_MS) });
    const page = await tabs.open(`#/timeline?stream=pier&${range}`);
    page.setDefaultTimeout(20_000);
    await page.locator('.u-over').waitFor();
    const times: Record<string, number[]> = {};
    const seekAll = async (kind: string, acts: (() => Promise<void>)[]) => {
      times[kind] = [];
      for (const act of acts) times[kind].push(await shownAfter(page, act));
      const most = { median: median(times[kind]), worst: Math.max(...times[kind]) };
      console.log(`${kind}: milliseconds from letting go to the picture`, most, times[kind]);
    };
    const dragTo = (moment: number) => () => drag(page, moment);
    await seekAll('cold', COLD.map(dragTo));
    await seekAll('warm', WARM.map(dragTo));
    const playlists: string[] = [];
    page.on('request', (one) => one.url().endsWith('.m3u8') && playlists.push(one.url()));
    await page.getByRole('slider', { name: 'Playhead' }).focus();
    await page.waitForFunction((seconds) => {
      const { buffered, currentTime } = document.querySelector('video') as HTMLVideoElement;
      return buffered.end(buffered.length - 1) - currentTime > seconds;
    }, 2 * KEYS);
    const press = async () => {
      // What plays on could come to the wanted picture by itself.
      await page.evaluate(() => document.querySelector('video')?.pause());
      await page.keyboard.press('ArrowRight');
    };
    await seekAll('keys', new Array(KEYS).fill(press));
    expect(playlists).toEqual([]);
    expect(Math.max(...Object.values(times).flat())).toBeLessThan(1_000);
  }, 180_000);
});

const iso = (time: number) => new Date(time).toISOString();

/** An hour of one stream as STORE=video keeps it, each segment with the same pictures. */
async function storeHour(
  store: ConsoleTabs['fixture']['store'],
  hour: number,
  segment: Buffer,
): Promise<void> {
  const frames = Array.from({ length: HOUR_MS / INTERVAL_MS }, (_, i) => {
    const capturedAt = hour + i * INTERVAL_MS;
    return { ...detectedFrame('pier', (capturedAt - DAY) / INTERVAL_MS, capturedAt, Buffer.of()), ...SIZE };
  });
  const begins = frames.filter((_, i) => i % PICTURES === 0);
  const lines = await inParallel(begins, 16, async (one) => {
    const from = frames.indexOf(one);
    const some = frames.slice(from, from + PICTURES);
    const place = { topic: 'detections', partition: 0, offset: one.frameNumber };
    const last = one.frameNumber + PICTURES - 1;
    const key = segmentKey('annotated', one, some.at(-1) ?? one, { ...place, last });
    const index = some.map((frame): [number, number] => [frame.capturedAt, frame.frameNumber]);
    const body = packSegment(movedTo(segment, one.capturedAt - hour), { ...SIZE, frames: index });
    await store.put({ key, body, contentType: 'video/mp4' });
    return some.map((frame, i) =>
      JSON.stringify({
        ...factsOf(frame),
        annotated_key: annotatedKey('annotated', frame),
        video: { key, index: i },
      }),
    );
  });
  const place = { topic: 'detections', partition: 0, offset: frames[0]?.frameNumber ?? 0 };
  const key = detectionsKey({ streamId: 'pier', capturedAt: hour }, place);
  await store.put({ key, body: lines.flat().join('\n'), contentType: 'application/x-ndjson' });
}

/** The same segment at another time: `tfdt` says when a fragment begins (ISO/IEC 14496-12, 8.8.12). */
function movedTo(mp4: Buffer, time: number): Buffer {
  const moved = Buffer.from(mp4);
  const at = moved.indexOf('tfdt') + 4;
  if (moved[at] === 1) moved.writeBigUInt64BE(BigInt(time), at + 4);
  else moved.writeUInt32BE(time, at + 4);
  return moved;
}

/** Drags the playhead to a moment and lets it go. */
async function drag(page: Page, moment: number): Promise<void> {
  const playhead = page.getByRole('slider', { name: 'Playhead' });
  const box = await playhead.boundingBox();
  if (!box) throw new Error('there is no playhead');
  const x = (time: number) => box.x + 8 + ((time - DAY) / DAY_MS) * (box.width - 16);
  const y = box.y + box.height / 2;
  await page.mouse.move(x(Number(await playhead.inputValue())), y);
  await page.mouse.down();
  await page.mouse.move(x(moment), y, { steps: 10 });
  await page.mouse.up();
}

/** @returns how long after the playhead was set the picture of its time came, milliseconds */
async function shownAfter(page: Page, act: () => Promise<void>): Promise<number> {
  // The page listens before anything is done: what is sent to it side by side may come in another order.
  const waiting = await page.evaluateHandle(() => {
    const playhead = document.querySelector('.playhead') as HTMLInputElement;
    const video = document.querySelector('video') as HTMLVideoElement;
    const { promise: shown, resolve, reject } = Promise.withResolvers<number>();
    let wanted: number | undefined;
    let seen: number | undefined;
    const fail = () => {
      const { readyState, currentTime, paused, hidden, error } = video;
      const state = { wanted, seen, readyState, currentTime, paused, hidden, error: error?.message };
      const text = document.querySelector('.preview p')?.textContent;
      reject(new Error(`no picture of the playhead's time in 10 s: ${JSON.stringify(state)} ${text}`));
    };
    setTimeout(fail, 10_000);
    const onChange = ({ timeStamp }: Event) => {
      const seconds = (playhead.valueAsNumber / 1000) % 3600;
      wanted = seconds;
      const look: VideoFrameRequestCallback = (_now, { mediaTime, expectedDisplayTime }) => {
        seen = mediaTime;
        // A picture or two may be left out. What played before is earlier.
        if (mediaTime > seconds - 0.1 && mediaTime < seconds + 2) resolve(expectedDisplayTime - timeStamp);
        else video.requestVideoFrameCallback(look);
      };
      video.requestVideoFrameCallback(look);
    };
    playhead.addEventListener('change', onChange, { once: true });
    shown.catch(() => {});
    return { shown };
  });
  await act();
  return Math.round(await waiting.evaluate(({ shown }) => shown));
}

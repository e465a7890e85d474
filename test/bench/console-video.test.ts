import { DAY_MS, detectionsKey, factsOf, HOUR_MS, segmentKey } from '@video-pipeline/frame';
import { createReader, createStore, inParallel, packSegment } from '@video-pipeline/storage';
import { compact } from '@video-pipeline/tables';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { encodeSegment } from '../../functions/src/clip-encoder.ts';
import { clipJpegs, detectedFrame } from '../e2e/console-fixture.ts';
import { type ConsoleTabs, describeInChromium, openConsole } from '../e2e/console-tabs.ts';

/** Pictures of one segment, and milliseconds from one to the next: 72 segments an hour, of 50 s each. */
const PICTURES = 25;
const INTERVAL_MS = 2_000;
const SEGMENT_MS = PICTURES * INTERVAL_MS;
const SIZE = { width: 1280, height: 720 };
const DAY = Math.floor(Date.now() / DAY_MS) * DAY_MS - DAY_MS;

describeInChromium('a stored day of video', () => {
  let tabs: ConsoleTabs;
  beforeAll(async () => {
    tabs = await openConsole({ env: { STORE: 'video' } });
    const { store, storage } = tabs.fixture;
    const [jpegs = []] = await clipJpegs(PICTURES, SIZE);
    const pictures = jpegs.map((jpeg, i) => ({ capturedAt: DAY + i * INTERVAL_MS, jpeg }));
    const first = await encodeSegment(pictures);
    const segments = Array.from({ length: DAY_MS / SEGMENT_MS }, (_, i) => i);
    await inParallel(segments, 16, async (segment) => {
      const begin = DAY + segment * SEGMENT_MS;
      const frames = pictures.map((_, i) => {
        const number = segment * PICTURES + i;
        return { ...detectedFrame('pier', number, begin + i * INTERVAL_MS, Buffer.of()), ...SIZE };
      });
      const [one, last] = [frames[0], frames.at(-1)];
      if (!one || !last) return;
      const place = { topic: 'detections', partition: 0, offset: one.frameNumber };
      const key = segmentKey('annotated', one, last, { ...place, last: last.frameNumber });
      const index = frames.map((frame): [number, number] => [frame.capturedAt, frame.frameNumber]);
      const body = packSegment(movedTo(first, begin % HOUR_MS), { ...SIZE, frames: index });
      await store.put({ key, body, contentType: 'video/mp4' });
      const lines = frames.map((frame, i) =>
        JSON.stringify({ ...factsOf(frame), annotated_key: `${key}#${i}`, video: { key, index: i } }),
      );
      const text = { body: lines.join('\n'), contentType: 'application/x-ndjson' };
      await store.put({ key: detectionsKey(one, place), ...text });
    });
    await compact({ ...createReader(storage), ...createStore(storage) }, { all: true });
  }, 600_000);
  afterAll(() => tabs?.close());

  test('where the playhead is let go, the picture of that moment is shown in under a second', async () => {
    const range = new URLSearchParams({ from: iso(DAY), to: iso(DAY + DAY_MS) });
    const page = await tabs.open(`#/timeline?stream=pier&${range}`);
    const playhead = page.getByRole('slider', { name: 'Playhead' });
    await page.locator('.u-over').waitFor({ timeout: 60_000 });
    // Hours that were never read, then other minutes of the last one, then seconds away.
    const cold = [9.3, 17.6, 2.2, 21.9, 12.4].map((hours) => DAY + hours * HOUR_MS);
    const warm = [5, -9, 20, 2, -3].map((minutes) => DAY + 12.4 * HOUR_MS + minutes * 60_000);
    const times: Record<string, number[]> = {};
    for (const [kind, moments] of Object.entries({ cold, warm })) {
      times[kind] = [];
      for (const moment of moments) times[kind].push(await seek(page, moment));
    }
    await playhead.focus();
    times.key = [];
    for (let step = 0; step < 5; step++)
      times.key.push(await shownAfter(page, () => page.keyboard.press('ArrowRight')));
    console.log('milliseconds from letting go to the picture', times);
    expect(Math.max(...Object.values(times).flat())).toBeLessThan(1_000);
  });
});

const iso = (time: number) => new Date(time).toISOString();

/** The same segment at another time: `tfdt` says when a fragment begins (ISO/IEC 14496-12, 8.8.12). */
function movedTo(mp4: Buffer, time: number): Buffer {
  const moved = Buffer.from(mp4);
  const at = moved.indexOf('tfdt') + 4;
  if (moved[at] === 1) moved.writeBigUInt64BE(BigInt(time), at + 4);
  else moved.writeUInt32BE(time, at + 4);
  return moved;
}

/** Drags the playhead to a moment. @returns how long after it was let go the picture of that moment came, milliseconds */
async function seek(page: Page, moment: number): Promise<number> {
  const box = await page.getByRole('slider', { name: 'Playhead' }).boundingBox();
  if (!box) throw new Error('there is no playhead');
  const knob = await page
    .getByRole('slider', { name: 'Playhead' })
    .evaluate(
      (one) =>
        (Number((one as HTMLInputElement).value) - Number((one as HTMLInputElement).min)) /
        (Number((one as HTMLInputElement).max) - Number((one as HTMLInputElement).min)),
    );
  const x = (share: number) => box.x + 8 + share * (box.width - 16);
  const y = box.y + box.height / 2;
  await page.mouse.move(x(knob), y);
  await page.mouse.down();
  await page.mouse.move(x((moment - DAY) / DAY_MS), y, { steps: 10 });
  return shownAfter(page, () => page.mouse.up());
}

/** @returns how long after what is done the picture of the playhead's time came, milliseconds */
async function shownAfter(page: Page, act: () => Promise<void>): Promise<number> {
  const shown = page.evaluate(
    () =>
      new Promise<number>((resolve) => {
        const playhead = document.querySelector<HTMLInputElement>('.playhead');
        const video = document.querySelector('video');
        playhead?.addEventListener(
          'change',
          ({ timeStamp }) => {
            const wanted = playhead.valueAsNumber / 1000;
            const look: VideoFrameRequestCallback = (_now, { mediaTime, expectedDisplayTime }) => {
              if (Math.abs((wanted % 3600) - mediaTime) <= 2) resolve(expectedDisplayTime - timeStamp);
              else video?.requestVideoFrameCallback(look);
            };
            video?.requestVideoFrameCallback(look);
          },
          { once: true },
        );
      }),
  );
  await act();
  return Math.round(await shown);
}

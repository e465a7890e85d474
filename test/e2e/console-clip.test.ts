import { execFile } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { clipKey, toLambdaRecord } from '@video-pipeline/frame';
import { createClip } from '@video-pipeline/functions/clip';
import { createReader } from '@video-pipeline/storage';
import { AV_LOG_QUIET } from 'node-av/constants';
import { Log } from 'node-av/lib';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, inject, onTestFinished, test } from 'vitest';
import { hasChromium, sharedChromium } from './chromium.ts';
import {
  annotate,
  type ConsoleFixture,
  cameraJpegs,
  detectedFrame,
  sceneEvent,
  startConsoleFixture,
} from './console-fixture.ts';

Log.setLevel(AV_LOG_QUIET);
const START = Date.now() - 600_000;
const FRAMES = 40;
/** Others may be busy on the machine. */
const PATIENCE = { timeout: 20_000 };
/** The first has its clip stored, the second not yet. */
const [stored, awaited] = [1, 2].map((n) => {
  const event = sceneEvent('dock', n, START + n * 1_000);
  return { ...event, clip_key: clipKey(event) };
}) as [ReturnType<typeof sceneEvent>, ReturnType<typeof sceneEvent>];

let fixture: ConsoleFixture;
let browser: Browser | undefined;

beforeAll(async () => {
  let clips: Buffer[][];
  [fixture, browser, clips] = await Promise.all([
    startConsoleFixture({ kafka: inject('kafka') }),
    hasChromium ? sharedChromium() : undefined,
    cameraJpegs(),
  ]);
  const [jpegs = []] = clips;
  const frames = Array.from({ length: FRAMES }, (_, i) =>
    detectedFrame('dock', i, START + i * 100, jpegs[i % jpegs.length] ?? Buffer.of()),
  );
  // Pictures of one clip may lie in every form.
  await annotate(fixture.store, frames.slice(0, 15));
  await annotate(fixture.store, frames.slice(15, 25), 'video');
  await annotate(fixture.store, frames.slice(25), 'archive');
  const film = createClip({
    store: fixture.store,
    reader: createReader(fixture.storage),
    prefix: 'annotated',
    settings: { CLIP_BEFORE_SECONDS: 1, CLIP_AFTER_SECONDS: 1, BATCH_TIMEOUT_SECONDS: 5 },
    putFailed: async (_record, reason) => expect.fail(reason),
    logger: { warn: (message) => expect.fail(String(message)) },
  });
  const position = { topic: 'events', partition: 0, offset: '0', timestamp: Date.now() };
  const record = toLambdaRecord(position, { key: 'dock', value: Buffer.from(JSON.stringify(stored)) });
  await film({
    eventSource: 'aws:kafka',
    eventSourceArn: '',
    bootstrapServers: '',
    records: { 'events-0': [record] },
  });
  await fixture.producer.send({
    topic: fixture.topics.events,
    messages: [stored, awaited].map((event) => ({ key: 'dock', value: JSON.stringify(event) })),
  });
});
afterAll(() => fixture?.stop());

/** Resident memory in MB and seconds of processor time of the console. */
async function usage(): Promise<{ megabytes: number; seconds: number }> {
  const { stdout } = await promisify(execFile)('ps', ['-o', 'rss=,time=', '-p', String(fixture.child.pid)]);
  const [kilobytes = '', time = ''] = stdout.trim().split(/\s+/);
  const [hours = 0, minutes = 0, seconds = 0] = time.split(':').map(Number);
  return { megabytes: Number(kilobytes) / 1_000, seconds: (hours * 60 + minutes) * 60 + seconds };
}

test('sixty concurrent requests for a clip share one encoding, and the console stays responsive', async () => {
  const before = await usage();
  const url = `${fixture.url}/api/streams/dock/clips/${START + 2_000}.webp`;
  const asked = Array.from({ length: 60 }, async () => {
    const answer = await fetch(url);
    return [answer.status, (await answer.arrayBuffer()).byteLength] as const;
  });
  const first = await Promise.race([
    fetch(`${fixture.url}/health`).then(({ status }) => `health: ${status}`),
    ...asked.map((answer) => answer.then(() => 'a clip')),
  ]);
  expect(first).toBe('health: 200');
  const answers = new Set((await Promise.all(asked)).map(String));
  expect(answers.size).toBe(1);
  expect([...answers][0]).toMatch(/^200,\d{5,}$/);
  const after = await usage();
  expect(after.megabytes - before.megabytes).toBeLessThan(300);
  expect(after.seconds - before.seconds).toBeLessThan(10);
});

test('clips whose clients have disconnected are not encoded', async () => {
  const gone = new AbortController();
  const statuses: number[] = [];
  const asked = Array.from({ length: 60 }, async (_, i) => {
    const url = `${fixture.url}/api/streams/dock/clips/${START + 1_000 + i}.webp`;
    statuses.push((await fetch(url, { signal: gone.signal })).status);
  });
  const settled = Promise.allSettled(asked);
  // One in work, 32 in the queue: the others are told at once to try again.
  await expect.poll(() => statuses.filter((status) => status === 503).length, PATIENCE).toBeGreaterThan(20);
  gone.abort();
  await settled;
  await sleep(2_000);
  const before = await usage();
  await sleep(4_000);
  expect((await usage()).seconds - before.seconds).toBeLessThan(2);
});

const urlOf = ({ at, event_id }: typeof stored) =>
  `${fixture.url}/api/streams/dock/clips/${at}-${event_id}.mp4`;

test('a stored clip is served, also by range requests, and a missing clip gets 404', async () => {
  const whole = await fetch(urlOf(stored));
  expect([whole.status, whole.headers.get('content-type')]).toEqual([200, 'video/mp4']);
  const bytes = Buffer.from(await whole.arrayBuffer());
  expect(bytes.subarray(4, 8).toString()).toBe('ftyp');
  const part = await fetch(urlOf(stored), { headers: { range: 'bytes=4-7' } });
  expect([part.status, await part.text()]).toEqual([206, 'ftyp']);
  expect((await fetch(urlOf(awaited))).status).toBe(404);
  expect((await fetch(urlOf({ ...stored, at: 9e15 }))).status).toBe(404);
  expect((await fetch(urlOf(stored).replace('/dock/', '/.hidden/'))).status).toBe(400);
});

test.skipIf(!hasChromium)(
  'the page plays the stored clip, or a clip of the stored pictures when there is none',
  async () => {
    if (!browser) throw new Error('no browser');
    const page = await browser.newPage();
    onTestFinished(() => page.close());
    const refused: string[] = [];
    page.on('console', (message) => {
      if (/Content Security Policy/.test(message.text())) refused.push(message.text());
    });
    await page.goto(`${fixture.url}/#/stream/dock`);
    const plays = page.getByRole('button', { name: 'Play clip' });
    await plays.first().waitFor();
    expect(await plays.count()).toBe(2);
    // The newest comes first.
    await plays.last().click();
    const video = page.locator('video.clip');
    await expect
      .poll(() => video.evaluate((element) => (element as HTMLVideoElement).currentTime), PATIENCE)
      .toBeGreaterThan(0.5);
    const { duration, width, height } = await video.evaluate((element) => {
      const { duration, videoWidth, videoHeight } = element as HTMLVideoElement;
      return { duration, width: videoWidth, height: videoHeight };
    });
    // 2 s, and the last picture's share.
    expect(duration).toBeCloseTo(2.1, 1);
    expect([width, height]).toEqual([400, 300]);
    await video.evaluate((element) => {
      (element as HTMLVideoElement).currentTime = 0.2;
    });
    await expect
      .poll(() => video.evaluate((element) => (element as HTMLVideoElement).currentTime), PATIENCE)
      .toBeLessThan(2);

    await plays.click();
    const picture = page.locator('img.clip');
    await expect
      .poll(() => picture.evaluate((img) => (img as HTMLImageElement).naturalWidth), PATIENCE)
      .toBe(400);
    expect(await picture.getAttribute('src')).toMatch(/\.webp$/);
    expect(refused).toEqual([]);
  },
);

import {
  annotatedKey,
  type DetectedFrame,
  encodeDetectedFrame,
  HOUR_MS,
  hourFolder,
} from '@video-pipeline/frame';
import {
  createPutFailed,
  createReader,
  createStore,
  objectsOf,
  picturesOf,
  playlistOf,
} from '@video-pipeline/storage';
import { startFauxqs } from 'fauxqs';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { mskEvent } from '../../test/support/msk-event.ts';
import { createAnnotate } from './annotate.ts';

const MIDNIGHT = Date.UTC(2026, 10, 26);
// What is hours older is late.
vi.useFakeTimers({ toFake: ['Date'], now: MIDNIGHT + 10_000 });

const SIZE = { width: 64, height: 48 };
const FRAMES = 20;
/** At this frame the camera's clock is set back. */
const SET_BACK = 15;
const greyOf = (frameNumber: number) => 20 + 10 * frameNumber;
const timeOf = (frameNumber: number) =>
  MIDNIGHT - 500 + frameNumber * 100 - (frameNumber < SET_BACK ? 0 : 1_500);

let s3: Awaited<ReturnType<typeof startFauxqs>>;
let jpegs: Buffer[];
beforeAll(async () => {
  Object.assign(process.env, { AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' });
  s3 = await startFauxqs({ port: 0, host: '127.0.0.1', logger: false });
  jpegs = await Promise.all(
    Array.from({ length: FRAMES }, (_, n) => {
      const [r, g, b] = [greyOf(n), greyOf(n), greyOf(n)];
      return sharp({ create: { ...SIZE, channels: 3, background: { r, g, b } } })
        .jpeg()
        .toBuffer();
    }),
  );
});
afterAll(() => s3.stop());

/** The number of the frame that a picture shows. */
async function numberIn(jpeg: Buffer): Promise<number> {
  const [grey] = (await sharp(jpeg).stats()).channels;
  return Math.round(((grey?.mean ?? 0) - 20) / 10);
}

// With each name, as it could be taken for something else.
test.each([
  ['video', '1-2-x.mp4'],
  ['archive', 'constructor..tar'],
  ['events', '0'],
] as const)(
  '%s of stream %s: frames are found after a crash, other batches, midnight and a clock set back',
  async (form, streamId) => {
    s3.createBucket(form);
    const settings = {
      S3_BUCKET: form,
      AWS_REGION: 'us-east-1',
      AWS_ENDPOINT_URL: `http://127.0.0.1:${s3.port}`,
    };
    const [store, reader] = [createStore(settings), createReader(settings)];
    let isKilled = true;
    const dying = {
      ...store,
      merge: async (object: Parameters<typeof store.merge>[0]) => {
        if (isKilled) throw new Error('killed');
        await store.merge(object);
      },
    };
    const putFailed = createPutFailed(store, 'annotate');
    const annotate = createAnnotate({
      ...{ store: dying, prefix: 'annotated', form, boxes: false, putFailed },
      logger: { warn: (message) => expect.fail(String(message)) },
    });
    const frames = jpegs.map((jpeg, frameNumber): DetectedFrame => {
      const of = { streamId, session: 's1', model: 'm', detections: [], ...SIZE };
      return { ...of, frameNumber, capturedAt: timeOf(frameNumber), jpeg };
    });
    const deliver = (from: number, to: number) =>
      annotate(
        mskEvent('detections', [frames.slice(from, to).map(encodeDetectedFrame)], { offset: 100 + from }),
      );
    await expect(deliver(0, 12)).rejects.toThrow('killed');
    isKilled = false;
    await deliver(0, 4);
    await deliver(4, FRAMES);

    const lines: Record<string, unknown>[] = [];
    for await (const { key } of objectsOf(reader, `detections/${streamId}/`))
      for (const line of String(await reader.read(key))
        .trim()
        .split('\n'))
        lines.push(JSON.parse(line));
    const byNumber = (a: { frame_number?: unknown }, b: { frame_number?: unknown }) =>
      Number(a.frame_number) - Number(b.frame_number);
    expect(lines.sort(byNumber).map((line) => line.frame_number)).toEqual(frames.map((_, n) => n));
    for (const [n, line] of lines.entries()) {
      const place = line[form] as { key: string; index: number } | undefined;
      const own = annotatedKey('annotated', frames[n] as DetectedFrame);
      const picture = place && n % 4 ? reader.read(place.key, place) : reader.read(own);
      expect(await numberIn(await picture)).toBe(n);
    }
    const stretch = { streamId, from: MIDNIGHT - 60_000, to: MIDNIGHT + 60_000 };
    const stored = await picturesOf(reader, 'annotated', stretch, 1_000);
    const shown = await Promise.all(stored.map(async ({ jpeg }) => numberIn(jpeg)));
    expect(stored.map(({ capturedAt }) => capturedAt)).toEqual(shown.map(timeOf));
    expect(shown.sort((a, b) => a - b)).toEqual(frames.map((_, n) => n));
    if (form !== 'video') return;
    for (const hour of [MIDNIGHT - HOUR_MS, MIDNIGHT]) {
      const folder = `annotated/${streamId}/${hourFolder(hour)}/`;
      const keys = (await reader.page(folder)).objects.map(({ key }) => key);
      const names = playlistOf(keys, Date.now())?.match(/^\d.*mp4$/gm) ?? [];
      const isPlayed = (time: number) =>
        names.some((name) => {
          const [from = 0, to = 0] = name.split('-').map(Number);
          return from <= time && time <= to;
        });
      const own = frames
        .map(({ capturedAt }) => capturedAt)
        .filter((time) => time - (time % HOUR_MS) === hour);
      expect(own.filter((time) => !isPlayed(time))).toEqual([]);
    }
  },
);

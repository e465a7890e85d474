import { annotatedKey, clipKey, type MSKEvent } from '@video-pipeline/frame';
import type { SceneEvent } from '@video-pipeline/scene';
import type { Reader, StoredObject } from '@video-pipeline/storage';
import { AV_LOG_QUIET } from 'node-av/constants';
import { Log } from 'node-av/lib';
import sharp from 'sharp';
import { beforeEach, expect, test, vi } from 'vitest';
import { collectMetrics } from '../../test/support/metrics.ts';
import { mskEvent } from '../../test/support/msk-event.ts';
import { createClip } from './clip.ts';

Log.setLevel(AV_LOG_QUIET);
const metrics = collectMetrics();
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date', 'performance'], now: NOW });
});

const NOW = Date.UTC(2026, 10, 25, 12);
/** When it happened: long before it was told, as in a replay. */
const AT = Date.UTC(2026, 10, 25, 7);
const jpeg = await sharp({ create: { width: 64, height: 48, channels: 3, background: 'grey' } })
  .jpeg()
  .toBuffer();

const eventOf = (streamId: string, at = AT): SceneEvent => ({
  event_id: at.toString(16).padStart(32, '0'),
  type: 'entered_zone',
  rule: 'in',
  stream_id: streamId,
  at,
  frames: ['annotated/a.jpg'],
});

function batchOf(values: string[], timestamp = NOW): MSKEvent {
  return mskEvent('events', [values.map((value) => ({ key: 'yard', value: Buffer.from(value) }))], {
    timestamp,
  });
}

/** A function on a bucket in memory, whose clock only runs while it waits. */
function setUp(BATCH_TIMEOUT_SECONDS = 5) {
  const pictures = new Map<string, Buffer>();
  const stored: StoredObject[] = [];
  const waits: number[] = [];
  const warnings: string[] = [];
  const failedRecords: string[] = [];
  const reader: Reader = {
    async page(prefix, { after = '', limit = 1000 } = {}) {
      const keys = [...pictures.keys()].filter((key) => key.startsWith(prefix) && key > after).sort();
      return { objects: keys.slice(0, limit).map((key) => ({ key, stored: 0, etag: '', size: 0 })) };
    },
    read: async (key) => pictures.get(key) ?? Buffer.of(),
  };
  const add = (streamId: string, offset: number, body = jpeg) =>
    pictures.set(annotatedKey('annotated', { streamId, capturedAt: AT + offset, frameNumber: 0 }), body);
  let onWait = () => {};
  const clip = createClip({
    store: { put: async (object) => void stored.push(object) },
    reader,
    prefix: 'annotated',
    settings: { CLIP_BEFORE_SECONDS: 1, CLIP_AFTER_SECONDS: 1, BATCH_TIMEOUT_SECONDS },
    sleep: async (ms) => {
      waits.push(ms);
      vi.advanceTimersByTime(ms);
      onWait();
    },
    putFailed: async (_record, reason) => void failedRecords.push(reason),
    logger: { warn: (message) => void warnings.push(String(message)) },
  });
  const fill = (streamId: string, from: number, to: number) => {
    for (let offset = from; offset <= to; offset += 100) add(streamId, offset);
  };
  return {
    clip,
    pictures,
    stored,
    waits,
    warnings,
    failedRecords,
    add,
    fill,
    whileWaiting(work: () => void) {
      onWait = work;
    },
  };
}

const counts = (stream: string) => metrics.find((one) => one.stream === stream)?.values;

test('a clip is stored under the key in its event, once the last frame of the event is stored', async () => {
  const { clip, stored, waits, fill, whileWaiting } = setUp();
  fill('yard', -2_000, 500);
  whileWaiting(() => {
    if (waits.length === 3) fill('yard', 600, 2_000);
  });
  await clip(batchOf([JSON.stringify(eventOf('yard'))]));
  expect(stored.map(({ key, contentType }) => [key, contentType])).toEqual([
    [clipKey(eventOf('yard')), 'video/mp4'],
  ]);
  expect(waits).toEqual([1_000, 1_000, 1_000, 500]);
  expect(counts('yard')).toEqual({ ClipsStored: [1], ClipsMissing: [0] });
});

test('frames stored within the grace period are in the clip, and an old event does not wait for frames', async () => {
  const { clip, stored, waits, fill } = setUp();
  fill('yard', -500, 300);
  await clip(batchOf([JSON.stringify(eventOf('yard'))]));
  // One second after the event, and twenty of grace.
  expect(waits.reduce((sum, ms) => sum + ms, 0)).toBe(21_000);
  await clip(batchOf([JSON.stringify(eventOf('yard'))], NOW - 60_000));
  expect(waits).toHaveLength(21);
  expect(stored).toHaveLength(2);
  expect(stored[0]?.body).toEqual(stored[1]?.body);
  // A broker's clock that is ahead makes no wait longer.
  await clip(batchOf([JSON.stringify(eventOf('yard'))], NOW + 10 ** 9));
  expect(waits).toHaveLength(42);
});

test('a recent event whose record has no timestamp waits for its frames, too', async () => {
  const { clip, waits } = setUp();
  await clip(batchOf([JSON.stringify(eventOf('yard', NOW))], -1));
  expect(waits).toHaveLength(21);
});

test('a clock that is set back during the wait does not extend the wait', async () => {
  const { clip, stored, waits, fill, whileWaiting } = setUp();
  fill('yard', -500, 300);
  whileWaiting(() => {
    if (waits.length === 3) vi.setSystemTime(Date.now() - 3_600_000);
  });
  await clip(batchOf([JSON.stringify(eventOf('yard'))]));
  expect(waits).toHaveLength(21);
  expect(stored).toHaveLength(1);
});

test.each([
  [30, 71],
  [300, 181],
])('with batches of %i s a clip waits %i s for its frames', async (seconds, awaited) => {
  const { clip, waits } = setUp(seconds);
  await clip(batchOf([JSON.stringify(eventOf('yard'))]));
  expect(waits).toHaveLength(awaited);
});

test('an event without any frame is logged and counted, and the others get their clips', async () => {
  const { clip, stored, warnings, failedRecords, fill } = setUp();
  fill('yard', -1_000, 1_500);
  const events = [eventOf('away'), eventOf('yard'), eventOf('yard', AT + 300)];
  await clip(batchOf(events.map((one) => JSON.stringify(one))));
  expect(stored.map(({ key }) => key).sort()).toEqual(events.slice(1).map(clipKey).sort());
  expect(warnings).toEqual([expect.stringContaining("of stream 'away'")]);
  expect(failedRecords).toEqual([]);
  expect(counts('away')).toEqual({ ClipsStored: [0], ClipsMissing: [1] });
  expect(counts('yard')).toEqual({ ClipsStored: [2], ClipsMissing: [0] });
});

test('an invalid event, and an event with invalid pictures, goes to failed/ and delays no other event', async () => {
  const { clip, stored, failedRecords, fill, add } = setUp();
  fill('yard', -1_000, 1_500);
  fill('gate', -1_000, 1_500);
  add('gate', 0, Buffer.from('no JPEG'));
  const events = [eventOf('gate'), { ...eventOf('yard'), at: 8.64e15 }, eventOf('yard')];
  await clip(batchOf(['{}', ...events.map((one) => JSON.stringify(one))]));
  expect(stored.map(({ key }) => key)).toEqual([clipKey(eventOf('yard'))]);
  const late = 'has a time that is not from 2000-01-01 to a day from now';
  expect(failedRecords).toEqual(['is no event', late, expect.stringMatching(/^a frame is no JPEG: /)]);
});

test('an invalid or truncated archive fails the events around it, is named, and delays no other event', async () => {
  const { clip, pictures, stored, failedRecords, fill } = setUp();
  for (const stream of ['yard', 'gate', 'door', 'lane']) fill(stream, -1_000, 1_500);
  const folder = (stream: string) => `annotated/${stream}/date=2026-11-25/hour=07`;
  const foreign = [`${folder('gate')}/${AT}-${AT}-mine.tar`, `${folder('door')}/${AT}-${AT}-mine.mp4`];
  pictures.set(foreign[0] ?? '', Buffer.of()).set(foreign[1] ?? '', Buffer.from('mine'));
  const cut = Buffer.alloc(520, '[');
  cut.write('__index__\0');
  cut.write('00000001000\0', 124);
  const cutShort = `${folder('lane')}/${AT}-${AT}-cut.tar`;
  pictures.set(cutShort, cut);
  await clip(batchOf(['gate', 'door', 'lane', 'yard'].map((stream) => JSON.stringify(eventOf(stream)))));
  expect(stored.map(({ key }) => key)).toEqual([clipKey(eventOf('yard'))]);
  expect(failedRecords).toEqual([
    `${foreign[0]} is no archive of this pipeline`,
    `${foreign[1]} is no video segment of this pipeline`,
    `${cutShort} has no index of pictures`,
  ]);
});

import type { Value } from '@video-pipeline/config';
import {
  annotatedKey,
  type DetectedFrame,
  decodeSeenFrame,
  type EncodedRecord,
  encodeDetectedFrame,
  encodeFrame,
  lateKey,
  type MSKRecord,
  positionOf,
  recordsOf,
} from '@video-pipeline/frame';
import {
  type FrameResult,
  type InferenceClient,
  InferenceClientError,
} from '@video-pipeline/inference-client';
import { type Message, TooLargeError } from '@video-pipeline/kafka';
import {
  createPutFailed,
  type FailedRecord,
  indexOfSegment,
  type MergingStore,
  picturesOfSegment,
  type StoredObject,
} from '@video-pipeline/storage';
import sharp from 'sharp';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { collectMetrics } from '../../test/support/metrics.ts';
import { mskEvent } from '../../test/support/msk-event.ts';
import { createAnnotate, createAnnotateFrames } from './annotate.ts';
import { createDetect } from './detect.ts';
import { createPictureChooser, type PictureChooser } from './keep-pictures.ts';
import { createPublish } from './publish.ts';
import type { Received } from './records.ts';
import type { Scenes } from './scenes.ts';

// A moment after the frames: what is hours older is late.
vi.useFakeTimers({ toFake: ['Date'], now: Date.UTC(2026, 10, 25, 7, 0, 2) });

const metrics = collectMetrics();

/** The last value that was emitted. */
const metric = (
  service: string,
  stream: string,
  name: 'FramesDetected' | 'FramesFailed' | 'CaptureToStored' | 'Detections',
) =>
  metrics.findLast((one) => one.service === service && one.stream === stream && one.values[name])?.values[
    name
  ];

const [width, height] = [64, 48];
const jpeg = await sharp({ create: { width, height, channels: 3, background: 'grey' } })
  .jpeg()
  .toBuffer();
const person = { class_id: 0, class_name: 'person', confidence: 0.9, bbox: [1, 2, 30, 40] as const };

const frame = (streamId: string, frameNumber: number): DetectedFrame => ({
  streamId,
  frameNumber,
  session: 's1',
  capturedAt: Date.UTC(2026, 10, 25, 7, 0, 0, frameNumber),
  width,
  height,
  jpeg,
  detections: [{ ...person, bbox: [...person.bbox] }],
  model: 'm',
});

const eventOf = (topic: string, partitions: EncodedRecord[][]) =>
  mskEvent(topic, partitions, { offset: 100 });

function memoryStore(failing?: RegExp) {
  const objects = new Map<string, StoredObject>();
  const store: MergingStore = {
    async put(object) {
      if (failing?.test(object.key)) throw new Error('503 Slow Down');
      objects.set(object.key, object);
    },
    merge: ({ key, contentType, merge }) => {
      const before = objects.get(key)?.body;
      return store.put({ key, contentType, body: merge(before === undefined ? undefined : String(before)) });
    },
  };
  return { store, objects };
}

const logger = { warn: vi.fn() };
const broken = { key: 'gate', value: jpeg, headers: { stream_id: '../gate' } };

describe('detect', () => {
  const seeing = (result: (index: number) => FrameResult): InferenceClient => ({
    detect: async (frames) => frames.map((_frame, index) => result(index)),
  });
  const good: FrameResult = { model: 'm', width, height, detections: frame('gate', 0).detections };

  function setUp(detector: InferenceClient, failing?: RegExp, scenes?: Scenes) {
    const { store, objects } = memoryStore(failing);
    const published: DetectedFrame[] = [];
    const publish = async (frames: readonly Received<DetectedFrame>[]) => {
      published.push(...frames.map(({ frame }) => frame));
      return [];
    };
    const handler = createDetect({
      detector,
      publish,
      scenes,
      putFailed: createPutFailed(store, 'detect'),
      logger,
    });
    return { handler, published, objects };
  }

  test('publishes every frame with its detections, in the order of each partition', async () => {
    const { handler, published, objects } = setUp(seeing(() => good));
    const partitions = [[frame('gate', 0), frame('gate', 1)], [frame('yard', 5)]];
    await handler(
      eventOf(
        'video-frames',
        partitions.map((list) => list.map(encodeFrame)),
      ),
    );
    expect(published).toEqual(partitions.flat());
    expect(objects.size).toBe(0);
    expect(metric('detect', 'gate', 'FramesDetected')).toEqual([2]);
    expect(metric('detect', 'yard', 'Detections')).toEqual([1]);
  });

  test('the frames of a stream go to the model that it names, and a missing model is logged once', async () => {
    const asked: [string | undefined, string[]][] = [];
    const detector: InferenceClient = {
      async detect(frames, model) {
        asked.push([model, frames.map(({ streamId }) => streamId)]);
        return frames.map(() => ({ ...good, model: model === 'yard-v2' ? model : 'm' }));
      },
    };
    const models = new Map([
      ['yard', 'yard-v2'],
      ['door', 'gone'],
    ]);
    const scenes: Scenes = {
      models: async () => models,
      process: async (_event, frames) => ({ frames: [...frames], events: [] }),
      publishEvents: async () => {},
    };
    const { handler, published } = setUp(detector, undefined, scenes);
    logger.warn.mockClear();
    const records = ['gate', 'yard', 'door', 'gate'].map((id, at) => encodeFrame(frame(id, at)));
    for (let batch = 0; batch < 2; batch++) await handler(eventOf('video-frames', [records]));
    expect(asked.slice(0, 3)).toEqual([
      [undefined, ['gate', 'gate']],
      ['yard-v2', ['yard']],
      ['gone', ['door']],
    ]);
    expect(published.slice(0, 4).map(({ streamId, model }) => [streamId, model])).toEqual([
      ['gate', 'm'],
      ['yard', 'yard-v2'],
      ['door', 'm'],
      ['gate', 'm'],
    ]);
    expect(logger.warn.mock.calls).toEqual([
      [expect.stringContaining('no model of that name'), { stream: 'door', model: 'gone', used: 'm' }],
    ]);
  });

  test('an invalid record, a failed frame and a frame of another size go to failed/; the others are published', async () => {
    const results: FrameResult[] = [good, { model: 'm', error: 'not a JPEG' }, { ...good, width: 32 }];
    const { handler, published, objects } = setUp(seeing((index) => results[index] ?? good));
    const records = [0, 1, 2, 3].map((number) => encodeFrame(frame('gate', number)));
    const event = eventOf('video-frames', [[broken, ...records]]);
    await handler(event);
    expect(published.map(({ frameNumber }) => frameNumber)).toEqual([0, 3]);
    const failed = [...objects.values()].map(({ body }) => JSON.parse(String(body)) as FailedRecord);
    expect([...objects.keys()]).toEqual(
      [0, 2, 3].map((index) => `failed/detect/video-frames-0-${100 + index}`),
    );
    expect(failed.map(({ reason }) => reason)).toEqual([
      expect.stringContaining("header 'stream_id'"),
      'not a JPEG',
      `the JPEG is 32x${height} pixels, its record says ${width}x${height}`,
    ]);
    expect(failed[0]).toMatchObject({ stage: 'detect', record: event.records['video-frames-0']?.[0] });
    expect(metric('detect', 'gate', 'FramesFailed')).toEqual([3]);
  });

  test('a record with an impossible time or picture type goes to failed/ with the reason, without inference', async () => {
    const { handler, published, objects } = setUp(seeing(() => good));
    const png = await sharp({ create: { width, height, channels: 3, background: 'grey' } })
      .png()
      .toBuffer();
    const records = [
      { ...frame('gate', 0), jpeg: png },
      { ...frame('gate', 1), capturedAt: 1_795_850_000 },
      { ...frame('gate', 2), capturedAt: Date.now() + 48 * 3_600_000 },
      frame('gate', 3),
    ].map(encodeFrame);
    await handler(eventOf('video-frames', [records]));
    expect(published.map(({ frameNumber }) => frameNumber)).toEqual([3]);
    const reasons = [...objects.values()].map(({ body }) => JSON.parse(String(body)).reason);
    expect(reasons).toEqual([
      'record value is a PNG, not a JPEG',
      expect.stringMatching(/^record header 'captured_at' is 1970-01-21T.*milliseconds since 1970$/),
      expect.stringMatching(/^record header 'captured_at' is .* not from 2000-01-01 to a day from now/),
    ]);
  });

  test("a frame of today is detected although the host's clock is not set", async () => {
    const { handler, published } = setUp(seeing(() => good));
    const record = encodeFrame(frame('gate', 0));
    const now = Date.now();
    vi.setSystemTime(0);
    onTestFinished(() => void vi.setSystemTime(now));
    await handler(eventOf('video-frames', [[record]]));
    expect(published).toHaveLength(1);
  });

  test.each(['constructor', 'toString', '__proto__', 'hasOwnProperty'])(
    'a header named %s is handled like any other',
    async (name) => {
      const { handler, published, objects } = setUp(seeing(() => good));
      const record = encodeFrame(frame('gate', 0));
      const headers = { ...record.headers };
      Object.defineProperty(headers, name, { value: 'x', enumerable: true });
      await handler(eventOf('video-frames', [[{ ...record, headers }]]));
      expect([published.length, objects.size]).toEqual([1, 0]);
    },
  );

  test.each<[string, InferenceClient, RegExp | undefined]>([
    [
      'the inference server is unreachable',
      { detect: () => Promise.reject(new InferenceClientError('away')) },
      undefined,
    ],
    ['the inference server returns no result for a frame', { detect: async () => [] }, undefined],
    ['failed/ can not be written', seeing(() => ({ model: 'm', error: 'x' })), /^failed/],
  ])('the batch fails when %s', async (_what, detector, failing) => {
    const { handler } = setUp(detector, failing);
    await expect(handler(eventOf('video-frames', [[encodeFrame(frame('gate', 0))]]))).rejects.toThrow();
  });

  test('a frame with more detections than a record carries goes to failed/', async () => {
    const one = frame('gate', 0).detections;
    const crowd = { ...good, detections: Array.from({ length: 10_000 }, () => one).flat() };
    const { handler, published, objects } = setUp(seeing((index) => (index === 1 ? crowd : good)));
    await handler(eventOf('video-frames', [[0, 1, 2].map((number) => encodeFrame(frame('gate', number)))]));
    expect(published.map(({ frameNumber }) => frameNumber)).toEqual([0, 2]);
    expect(JSON.parse(String(objects.get('failed/detect/video-frames-0-101')?.body))).toMatchObject({
      reason: '10000 detections are more than a record carries',
    });
  });

  test('an event without a valid frame sends no request to the model', async () => {
    const detect = vi.fn();
    const { handler, objects } = setUp({ detect });
    await handler(eventOf('video-frames', [[broken]]));
    expect(detect).not.toHaveBeenCalled();
    expect(objects.size).toBe(1);
  });

  test('a frame whose record is too large for the topic goes to failed/, and the others are published', async () => {
    const sent: unknown[] = [];
    const send = async ({ topic, messages }: { topic: string; messages: Message[] }) => {
      const large = messages.filter(({ value }) => (value?.length ?? 0) > 100_000);
      sent.push(
        ...messages.filter((one) => !large.includes(one)).map(({ headers }) => headers?.frame_number),
      );
      if (large.length > 0) throw new TooLargeError(topic, large);
      return [];
    };
    const failed: string[] = [];
    const handler = createDetect({
      detector: seeing(() => good),
      publish: createPublish({ send }, 'detections'),
      putFailed: async (_record, reason, { code } = {}) => void failed.push(`${code}: ${reason}`),
      logger,
    });
    const frames = [0, 1, 2].map((number) => frame('gate', number));
    const [, large] = frames;
    if (large) large.jpeg = Buffer.concat([large.jpeg, Buffer.alloc(200_000)]);
    await handler(eventOf('video-frames', [frames.map(encodeFrame)]));
    expect(sent).toEqual(['0', '2']);
    expect(failed).toEqual([
      expect.stringMatching(/^FRAME_TOO_LARGE: detections: .*'gate' of 2\d{5} bytes$/),
    ]);
  });
});

describe('detect that includes annotate, with PICTURES=once', () => {
  const result = { model: 'm', width, height, detections: frame('gate', 0).detections };
  const detector: InferenceClient = { detect: async (frames) => frames.map(() => result) };
  const half = { ...frame('gate', 1), jpeg: jpeg.subarray(0, 150) };
  const events = eventOf('video-frames', [[frame('gate', 0), half, frame('gate', 2)].map(encodeFrame)]);

  function setUp(failing?: RegExp) {
    const { store, objects } = memoryStore(failing);
    const sent: Message[] = [];
    const stored: number[] = [];
    const send = async ({ messages }: { messages: Message[] }) => {
      stored.push(objects.size);
      sent.push(...messages);
      return [];
    };
    const putFailed = (stage: string) => createPutFailed(store, stage);
    const rest = { store, prefix: 'annotated', form: 'frames' as const, logger };
    const annotate = createAnnotateFrames({ ...rest, putFailed: putFailed('annotate') });
    const handler = createDetect({
      detector,
      publish: createPublish({ send }, 'detections'),
      once: { annotate, prefix: 'annotated' },
      putFailed: putFailed('detect'),
      logger,
    });
    const twice = createAnnotate({ ...rest, putFailed: putFailed('annotate') });
    return { handler, sent, stored, objects, twice };
  }

  test('publishes where each picture is, and then stores what annotate would store', async () => {
    const { handler, sent, stored, objects, twice } = setUp();
    await handler(events);
    const key = (number: number) => annotatedKey('annotated', frame('gate', number));
    const names = [
      key(0),
      key(2),
      expect.stringMatching(/^detections\/gate\/.*\/video-frames-0-100\.ndjson$/),
      'failed/annotate/video-frames-0-101',
    ];
    expect([...objects.keys()].sort()).toEqual(names);
    expect(stored).toEqual([0]);
    expect(JSON.parse(String(objects.get('failed/annotate/video-frames-0-101')?.body))).toMatchObject({
      code: 'PICTURE_INVALID',
      record: events.records['video-frames-0']?.[1],
    });
    const seen = sent.map((message) => decodeSeenFrame(message as EncodedRecord));
    expect(sent.map(({ value }) => value?.length)).toEqual([0, 0, 0]);
    expect(seen).toMatchObject(
      [0, 1, 2].map((number) => ({
        frameNumber: number,
        detections: result.detections,
        picture: { topic: 'video-frames', partition: 0, offset: 100 + number, annotated_key: key(number) },
      })),
    );
    // The same stage as one of its own, which a stage that is deployed anew may still be for a while, leaves them.
    const before = new Map(objects);
    await twice(eventOf('detections', [sent as EncodedRecord[]]));
    expect(objects).toEqual(before);
    // Delivered again, nothing is added.
    await handler(events);
    expect([...objects.keys()].sort()).toEqual(names);
  });

  test.each([/^annotated/, /^detections/, /^failed/])(
    'fails the batch when %s can not be written',
    async (failing) => {
      await expect(setUp(failing).handler(events)).rejects.toThrow('503');
    },
  );
});

describe('publish', () => {
  test('all frames of a batch are published by one send', async () => {
    const send = vi.fn(async () => []);
    const publish = createPublish({ send }, 'detections');
    const received = (one: DetectedFrame) => ({ record: {} as MSKRecord, frame: one });
    await publish([frame('gate', 0), frame('yard', 1)].map(received));
    await publish([received(frame('gate', 1))]);
    expect(send).toHaveBeenCalledTimes(2);
    const messages = [frame('gate', 0), frame('yard', 1)].map(encodeDetectedFrame);
    expect(send).toHaveBeenNthCalledWith(1, { topic: 'detections', messages });
  });
});

describe('annotate', () => {
  function setUp(failing?: RegExp, form: Value<'STORE'> = 'frames', choosePictures?: PictureChooser) {
    const { store, objects } = memoryStore(failing);
    const putFailed = createPutFailed(store, 'annotate');
    return {
      objects,
      handler: createAnnotate({ store, prefix: 'annotated', form, choosePictures, putFailed, logger }),
    };
  }
  const hour = 'date=2026-11-25/hour=07';
  const keyOf = ({ streamId, frameNumber, capturedAt }: DetectedFrame) =>
    `annotated/${streamId}/${hour}/${capturedAt}-${frameNumber}.jpg`;

  test('stores one JPEG per frame and one NDJSON per stream', async () => {
    const { handler, objects } = setUp();
    const gate = [frame('gate', 0), frame('gate', 1)];
    const yard = frame('yard', 5);
    const event = eventOf('detections', [gate.map(encodeDetectedFrame), [encodeDetectedFrame(yard)]]);
    await handler(event);
    const lines = `detections/gate/${hour}/detections-0-100.ndjson`;
    expect([...objects.keys()].sort()).toEqual(
      [...gate.map(keyOf), keyOf(yard), lines, `detections/yard/${hour}/detections-1-100.ndjson`].sort(),
    );
    const stored = objects.get(keyOf(yard));
    expect(stored).toMatchObject({
      contentType: 'image/jpeg',
      metadata: { stream_id: 'yard', frame_number: '5', session: 's1', captured_at: String(yard.capturedAt) },
    });
    expect(await sharp(stored?.body as Buffer).metadata()).toMatchObject({ format: 'jpeg', width, height });
    const read = String(objects.get(lines)?.body)
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(read).toEqual(
      gate.map((one) => ({
        stream_id: 'gate',
        frame_number: one.frameNumber,
        session: 's1',
        captured_at: one.capturedAt,
        width,
        height,
        model: 'm',
        detections: one.detections,
        annotated_key: keyOf(one),
      })),
    );
    expect(metric('annotate', 'gate', 'CaptureToStored')).toHaveLength(2);
  });

  test('with DRAW_BOXES=off stores each JPEG without drawing, and applies its EXIF orientation', async () => {
    const { store, objects } = memoryStore();
    const plain = frame('gate', 0);
    const turned = await sharp(plain.jpeg).withMetadata({ orientation: 3 }).jpeg().toBuffer();
    const cut = { ...frame('gate', 2), jpeg: plain.jpeg.subarray(0, 30) };
    const frames = [plain, { ...frame('gate', 1), jpeg: turned }, cut];
    const putFailed = createPutFailed(store, 'annotate');
    const of = { store, prefix: 'annotated', form: 'frames', boxes: false, putFailed, logger } as const;
    await createAnnotate(of)(eventOf('detections', [frames.map(encodeDetectedFrame)]));
    const [asItCame, upright] = frames.map((one) => objects.get(keyOf(one))?.body as Buffer);
    expect(asItCame?.equals(plain.jpeg)).toBe(true);
    expect(await sharp(upright).metadata()).toMatchObject({ width, height });
    expect((await sharp(upright).metadata()).orientation).toBeUndefined();
    expect(objects.has(keyOf(cut))).toBe(false);
    expect(objects.has('failed/annotate/detections-0-102')).toBe(true);
  });

  test('frames captured in another hour, such as replayed ones, have an NDJSON of that hour', async () => {
    const { handler, objects } = setUp();
    const replayed = { ...frame('gate', 1), capturedAt: frame('gate', 1).capturedAt - 2 * 3_600_000 };
    const gate = [frame('gate', 0), replayed, frame('gate', 2)];
    await handler(eventOf('detections', [gate.map(encodeDetectedFrame)]));
    const numbersIn = (key: string) =>
      [...String(objects.get(key)?.body).matchAll(/"frame_number":(\d+)/g)].map(([, number]) =>
        Number(number),
      );
    expect(numbersIn(`detections/gate/${hour}/detections-0-100.ndjson`)).toEqual([0, 2]);
    const earlier = hour.replace('hour=07', 'hour=05');
    expect(numbersIn(`detections/gate/${earlier}/detections-0-101.ndjson`)).toEqual([1]);
  });

  test('an NDJSON stored long after its hour gets one late note for each content, so that the tables include it', async () => {
    const { handler, objects } = setUp();
    const late = { ...frame('gate', 1), capturedAt: frame('gate', 1).capturedAt - 7 * 3_600_000 };
    const event = eventOf('detections', [[frame('gate', 0), late].map(encodeDetectedFrame)]);
    for (let delivery = 0; delivery < 2; delivery++) await handler(event);
    const key = `detections/gate/${hour.replace('hour=07', 'hour=00')}/detections-0-101.ndjson`;
    const notes = [...objects.keys()].filter((one) => one.startsWith('late/'));
    expect(notes).toEqual([expect.stringMatching(`^late/${key}/[0-9a-f]{16}$`)]);
    expect(lateKey({ key, body: String(objects.get(key)?.body) }, late.capturedAt)).toBe(notes[0]);
  });

  describe('with a drawing error that the picture does not cause', () => {
    const setUpFrames = (numbers: number[], faults: Record<number, number>) => {
      const { store, objects } = memoryStore();
      const putFailed = createPutFailed(store, 'annotate');
      const records = recordsOf(eventOf('detections', [numbers.map((n) => encodeFrame(frame('gate', n)))]));
      const received = numbers.map((number, index) => {
        let left = faults[number] ?? 0;
        // The drawing reads the boxes. What it throws is no fault of the JPEG.
        const detections = new Proxy(frame('gate', number).detections, {
          get(list, name) {
            if (name === 'toSorted' && left-- > 0) throw new RangeError('Array buffer allocation failed');
            return Reflect.get(list, name);
          },
        });
        return { record: records[index] as MSKRecord, frame: { ...frame('gate', number), detections } };
      });
      const annotate = createAnnotateFrames({
        store,
        prefix: 'annotated',
        form: 'frames',
        putFailed,
        logger,
      });
      return { objects, annotate: () => annotate(received) };
    };

    test('retries drawing until the error is over', async () => {
      const { objects, annotate } = setUpFrames([0, 1], { 1: 2 });
      await annotate();
      expect([...objects.keys()].filter((key) => !key.startsWith('detections/'))).toEqual(
        [frame('gate', 0), frame('gate', 1)].map(keyOf),
      );
    });

    test('puts a frame that always fails while others succeed into failed/, not as an invalid picture', async () => {
      const { objects, annotate } = setUpFrames([0, 1], { 1: 99 });
      await annotate();
      expect(objects.has(keyOf(frame('gate', 0)))).toBe(true);
      expect(JSON.parse(String(objects.get('failed/annotate/detections-0-101')?.body))).toMatchObject({
        code: 'FAILS_ALWAYS',
        reason: expect.stringMatching(/in 3 attempts: Array buffer allocation failed$/),
      });
    });

    test('puts a frame that always fails, alone in its batch, into failed/, so that later batches continue', async () => {
      const { objects, annotate } = setUpFrames([0], { 0: 99 });
      await annotate();
      expect([...objects.keys()]).toEqual(['failed/annotate/detections-0-100']);
    });

    test('fails the whole batch when no frame can be drawn, so that it is delivered again', async () => {
      const { objects, annotate } = setUpFrames([0, 1], {});
      const sorting = vi.spyOn(Array.prototype, 'toSorted').mockImplementation(() => {
        throw new RangeError('Array buffer allocation failed');
      });
      try {
        await expect(annotate()).rejects.toThrow('Array buffer allocation failed');
      } finally {
        sorting.mockRestore();
      }
      expect([...objects.keys()]).toEqual([]);
    });
  });

  test('with STORE=events stores pictures around events, also of earlier batches, and all detections', async () => {
    const found = { ...frame('gate', 5), detections: [], events: ['e1'] };
    const still = [3, 4, 6, 7, 8].map((number) => ({ ...frame('gate', number), detections: [] }));
    const [before = found, ...rest] = still;
    const broken = { ...frame('gate', 2), detections: [], jpeg: jpeg.subarray(0, 100) };
    const rule = { classes: new Set<string>(), beforeMs: 3, afterMs: 2 };
    const choosePictures = createPictureChooser(rule, {
      since: async () => [broken, before],
      withPictures: async () => [broken, before],
    });
    const { handler, objects } = setUp(/-7\.jpg$/, 'events', choosePictures);
    const batch = [...rest.slice(0, 1), found, ...rest.slice(1)].map(encodeDetectedFrame);
    // The store fails for one picture: nothing is remembered, and the second delivery stores everything.
    await expect(handler(eventOf('detections', [batch]))).rejects.toThrow();
    const again = setUp(undefined, 'events', choosePictures);
    await again.handler(eventOf('detections', [batch]));
    const kept = [before, rest[0], found, rest[1], rest[2]].map((one) => keyOf(one as DetectedFrame));
    const lines = `detections/gate/${hour}/detections-0-100.ndjson`;
    expect([...again.objects.keys()].sort()).toEqual([...kept, lines].sort());
    expect(objects.has(lines)).toBe(false);
    const written = String(again.objects.get(lines)?.body).trim().split('\n');
    expect(written.map((line) => [JSON.parse(line).frame_number, JSON.parse(line).picture])).toEqual([
      [4, undefined],
      [5, undefined],
      [6, undefined],
      [7, undefined],
      [8, null],
    ]);
  });

  test('counts boxes that are not drawn, only on pictures that are stored', async () => {
    const crowd = Array.from({ length: 302 }, () => frame('gate', 0).detections).flat();
    const crowded = [1, 2].map((number) => ({ ...frame('gate', number), detections: crowd }));
    const event = eventOf('detections', [crowded.map(encodeDetectedFrame)]);
    const keepFirst: PictureChooser = async ([first]) => ({
      kept: new Set(first ? [first.frame] : []),
      earlier: [],
      commit() {},
    });
    const counted = () => metrics.splice(0).map(({ values }) => values.BoxesNotDrawn);
    await setUp().handler(event);
    expect(counted()).toEqual([[4]]);
    await setUp(undefined, 'events', keepFirst).handler(event);
    expect(counted()).toEqual([[2]]);
    const { store } = memoryStore();
    const putFailed = createPutFailed(store, 'annotate');
    await createAnnotate({ store, prefix: 'annotated', form: 'frames', boxes: false, putFailed, logger })(
      event,
    );
    expect(counted()).toEqual([undefined]);
  });

  test('an archive is not replaced by a shorter one after the clock was set back', async () => {
    const { handler, objects } = setUp(undefined, 'archive');
    const [first, last] = [frame('gate', 0), frame('gate', 2)];
    // Captured between the two, and after them in Kafka.
    const batch = [first, last, frame('gate', 1)].map(encodeDetectedFrame);
    await handler(eventOf('detections', [batch]));
    const [whole = ''] = [...objects.keys()].filter((key) => key.endsWith('.tar'));
    const bytes = objects.get(whole)?.body;
    await handler(eventOf('detections', [batch.slice(0, 2)]));
    expect(objects.get(whole)?.body).toBe(bytes);
  });

  test('with STORE=archive stores one TAR and one NDJSON per stream, with the position of each picture', async () => {
    const { handler, objects } = setUp(undefined, 'archive');
    const gate = [frame('gate', 0), frame('gate', 1), { ...frame('gate', 2), jpeg: jpeg.subarray(0, 100) }];
    await handler(eventOf('detections', [gate.map(encodeDetectedFrame)]));
    const [first, second] = gate.map(({ capturedAt }) => capturedAt);
    const archive = `annotated/gate/${hour}/${first}-${second}-detections-0-100-101.tar`;
    const lines = `detections/gate/${hour}/detections-0-100.ndjson`;
    expect([...objects.keys()].sort()).toEqual([archive, lines, 'failed/annotate/detections-0-102']);
    for (const [i, text] of String(objects.get(lines)?.body).trim().split('\n').entries()) {
      const line = JSON.parse(text);
      expect(line).toMatchObject({
        annotated_key: keyOf(gate[i] as DetectedFrame),
        archive: { key: archive },
      });
      const { offset, length } = line.archive;
      const picture = Buffer.from(objects.get(archive)?.body ?? '').subarray(offset, offset + length);
      expect(await sharp(picture).metadata()).toMatchObject({ format: 'jpeg', width, height });
    }
    expect(metric('annotate', 'gate', 'CaptureToStored')).toHaveLength(2);
  });

  test('with STORE=video stores one segment and one NDJSON per stream, with the index of each picture', async () => {
    const { handler, objects } = setUp(undefined, 'video');
    const gate = [frame('gate', 0), { ...frame('gate', 1), jpeg: jpeg.subarray(0, 100) }, frame('gate', 2)];
    // Another camera's clock was set back, and it has two frames of one time.
    const yard = [7, 5, 5].map((number, i) => ({ ...frame('yard', number), frameNumber: i }));
    await handler(eventOf('detections', [gate.map(encodeDetectedFrame), yard.map(encodeDetectedFrame)]));
    const time = (milliseconds: number) => Date.UTC(2026, 10, 25, 7, 0, 0, milliseconds);
    const segments = {
      gate: `annotated/gate/${hour}/${time(0)}-${time(2)}-detections-0-100-102.mp4`,
      yard: `annotated/yard/${hour}/${time(5)}-${time(7)}-detections-1-100-102.mp4`,
    };
    const lines = (stream: string, partition: number) =>
      `detections/${stream}/${hour}/detections-${partition}-100.ndjson`;
    expect([...objects.keys()].sort()).toEqual(
      [
        segments.gate,
        segments.yard,
        lines('gate', 0),
        lines('yard', 1),
        'failed/annotate/detections-0-101',
      ].sort(),
    );
    const linesOf = (key: string) =>
      String(objects.get(key)?.body)
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line));
    expect(linesOf(lines('yard', 1)).map(({ frame_number, video }) => [frame_number, video])).toEqual([
      [0, { key: segments.yard, index: 2 }],
      [1, { key: segments.yard, index: 0 }],
      [2, { key: segments.yard, index: 1 }],
    ]);
    const body = objects.get(segments.yard)?.body as Buffer;
    const frames = [
      [time(5), 1],
      [time(5), 2],
      [time(7), 0],
    ];
    expect(indexOfSegment(body, '')).toEqual({ width, height, frames });
    const pictures = await picturesOfSegment(body);
    expect(pictures).toHaveLength(3);
    for (const picture of pictures)
      expect(await sharp(picture).metadata()).toMatchObject({ format: 'jpeg', width, height });
    expect(metric('annotate', 'gate', 'CaptureToStored')).toHaveLength(2);
  });

  test('pictures that can not be encoded as video are stored one by one, and none is lost', async () => {
    const { handler, objects } = setUp(undefined, 'video');
    const size = { width: 4_000, height: 2_400 };
    const large = await sharp({ create: { ...size, channels: 3, background: 'grey' } })
      .jpeg()
      .toBuffer();
    const gate = [frame('gate', 0), { ...frame('gate', 1), ...size, jpeg: large }];
    await handler(eventOf('detections', [gate.map(encodeDetectedFrame)]));
    expect([...objects.keys()].filter((key) => key.startsWith('annotated/'))).toEqual([
      expect.stringMatching(/\.mp4$/),
      keyOf(gate[1] as DetectedFrame),
    ]);
  });

  test.each(['archive', 'video'] as const)(
    'with STORE=%s a batch that is delivered again overwrites its own objects',
    async (form) => {
      const { handler, objects } = setUp(undefined, form);
      const event = eventOf('detections', [[encodeDetectedFrame(frame('gate', 0))]]);
      await handler(event);
      const before = [...objects].map(([key, { body }]) => [key, String(body)]);
      await handler(event);
      expect([...objects].map(([key, { body }]) => [key, String(body)])).toEqual(before);
    },
  );

  test('a batch that is delivered again with fewer records keeps the lines of the longer one', async () => {
    const { handler, objects } = setUp();
    const frames = [0, 1, 2].map((number) => encodeDetectedFrame(frame('gate', number)));
    await handler(eventOf('detections', [frames]));
    const renamed = encodeDetectedFrame({ ...frame('gate', 0), model: 'newer' });
    await handler(eventOf('detections', [[renamed]]));
    const lines = String(objects.get(`detections/gate/${hour}/detections-0-100.ndjson`)?.body)
      .trim()
      .split('\n');
    const seen = lines
      .map((line) => JSON.parse(line))
      .map(({ frame_number, model }) => [frame_number, model]);
    expect(seen.sort()).toEqual([
      [0, 'newer'],
      [1, 'm'],
      [2, 'm'],
    ]);
  });

  test('a broken JPEG goes to failed/ and not into the NDJSON, and the other frames are stored', async () => {
    const { handler, objects } = setUp();
    const frames = [frame('gate', 0), { ...frame('gate', 1), jpeg: jpeg.subarray(0, 100) }, frame('gate', 2)];
    const event = eventOf('detections', [frames.map(encodeDetectedFrame)]);
    await handler(event);
    const record = event.records['detections-0']?.[1] as MSKRecord;
    const failed = JSON.parse(String(objects.get(`failed/annotate/${positionOf(record)}`)?.body));
    expect(failed).toMatchObject({
      stage: 'annotate',
      record,
      reason: expect.stringMatching(/^the JPEG can't be decoded/),
    });
    const lines = String(objects.get(`detections/gate/${hour}/detections-0-100.ndjson`)?.body)
      .trim()
      .split('\n');
    expect(lines.map((line) => JSON.parse(line).frame_number)).toEqual([0, 2]);
    expect(metric('annotate', 'gate', 'FramesFailed')).toEqual([1]);
  });

  test.each([
    ['archive', /\.tar$/],
    ['video', /\.mp4$/],
  ] as const)('the batch fails when its %s can not be stored', async (form, failing) => {
    const { handler } = setUp(failing, form);
    const event = eventOf('detections', [[encodeDetectedFrame(frame('gate', 0))]]);
    await expect(handler(event)).rejects.toThrow('503');
  });
});

import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import {
  addCheckpoint,
  type DetectedFrame,
  type Detection,
  encodeDetectedFrame,
  encodeFrame,
  eventKey,
  type MSKEvent,
  toLambdaRecord,
} from '@video-pipeline/frame';
import type { Tail, TailRecord } from '@video-pipeline/kafka';
import { type SceneConfig, type SceneEvent, sceneConfigSchema } from '@video-pipeline/scene';
import fc from 'fast-check';
import { beforeEach, expect, onTestFinished, test, vi } from 'vitest';
import { createDetect } from './detect.ts';
import type { PublishedFrame } from './publish.ts';
import { scenesReader } from './scene-configs.ts';
import { createScenes } from './scenes.ts';

const write = vi.spyOn(process.stdout, 'write').mockImplementation(() => true);
beforeEach(() => void write.mockClear());

const config = sceneConfigSchema.parse({
  zones: {
    yard: {
      polygon: [
        [0.5, 0],
        [1, 0],
        [1, 1],
        [0.5, 1],
      ],
    },
  },
  lines: { gate: { from: [0.5, 1], to: [0.5, 0] } },
  events: [
    { type: 'entered_zone', name: 'in', zone: 'yard' },
    { type: 'left_zone', name: 'out', zone: 'yard' },
    { type: 'stayed_longer', name: 'loiter', zone: 'yard', seconds: 1 },
    { type: 'line_crossed', name: 'through', line: 'gate' },
    { type: 'count_over', name: 'crowd', zone: 'yard', count: 1 },
  ],
});
const STREAMS = ['gate', 'yard'];
const START = Date.UTC(2026, 10, 25, 7);

/** Two people cross the picture, there and back, at different times. */
function seenAt(frameNumber: number): Detection[] {
  const swing = (shift: number) => 500 + 300 * Math.sin((2 * Math.PI * (frameNumber + shift)) / 60);
  return [swing(0), swing(15)].map((x, lane) => ({
    class_id: 0,
    class_name: 'person',
    confidence: 0.9,
    bbox: [x - 60, 100 + 400 * lane, x + 60, 400 + 400 * lane],
  }));
}

function recordOf(offset: number, streamId: string, frameNumber: number, capturedAt: number) {
  const size = { width: 1000, height: 1000 };
  const frame = { streamId, frameNumber, session: 's', capturedAt, ...size, jpeg: Buffer.from('x') };
  const place = { topic: 'video-frames', partition: 0, offset: String(offset), timestamp: 0 };
  return toLambdaRecord(place, { ...encodeFrame(frame) });
}

/** Records of `video-frames`, two streams on one partition. */
const source = Array.from({ length: 160 }, (_, offset) => {
  const frameNumber = Math.floor(offset / 2);
  return recordOf(offset, STREAMS[offset % 2] ?? '', frameNumber, START + 100 * frameNumber);
});
const eventOf = (from: number, end: number): MSKEvent => ({
  eventSource: 'aws:kafka',
  eventSourceArn: '',
  bootstrapServers: '',
  records: { 'video-frames-0': source.slice(from, end) },
});

/** What Kafka holds, whatever becomes of the processes. */
class Topics {
  readonly frames: PublishedFrame[] = [];
  readonly events: SceneEvent[] = [];
  /** Those that lie in the bucket, by key. */
  readonly kept = new Map<string, SceneEvent>();
  /** What a read of the configuration waits for. */
  beforeConfigs: (() => Promise<void> | undefined) | undefined;
  readonly tail: Pick<Tail, 'newest'> = {
    newest: (topic, _key, limit) =>
      topic === 'events' ? newest(this.events, limit, eventRecord) : newest(this.frames, limit, frameRecord),
  };
}

/** The newest first, each made into a record only when it is read. */
async function* newest<T>(
  list: readonly T[],
  limit: number,
  recordOf: (one: T, offset: number) => TailRecord,
): AsyncGenerator<TailRecord, void> {
  for (let offset = list.length - 1; offset >= Math.max(0, list.length - limit); offset--)
    yield recordOf(list[offset] as T, offset);
}

const eventRecord = (event: SceneEvent, offset: number): TailRecord => ({
  offset,
  key: Buffer.from(event.stream_id),
  value: Buffer.from(JSON.stringify(event)),
  headers: {},
});

function frameRecord(frame: PublishedFrame, offset: number): TailRecord {
  const record = encodeDetectedFrame(frame);
  if (frame.checkpoint) addCheckpoint(record, frame.checkpoint);
  const headers = Object.fromEntries(
    Object.entries(record.headers).map(([name, text]) => [name, Buffer.from(text)]),
  );
  return { offset, key: Buffer.from(record.key), value: record.value, headers };
}

/** Where a process dies, or a broker goes away: before or after the frames, or the events, were written. */
type Fault = 'none' | 'before frames' | 'after frames' | 'before events' | 'after events';

/** One process that runs the function. */
function startProcess(
  topics: Topics,
  configs = new Map(STREAMS.map((id): [string, SceneConfig] => [id, config])),
  warn: (message: string, facts: object) => void = () => {},
) {
  let fault: Fault = 'none';
  const fail = (when: Fault) => {
    if (fault === when) throw new Error(when);
  };
  const scenes = createScenes({
    logger: { warn: (message, ...extra) => warn(String(message), extra[0] as object) },
    configs: async () => {
      await topics.beforeConfigs?.();
      return configs;
    },
    allowedClasses: undefined,
    prefix: 'annotated',
    detectionsTopic: 'detections',
    eventsTopic: 'events',
    clips: true,
    tail: topics.tail,
    producer: {
      send: async ({ messages }) => {
        fail('before events');
        const told: SceneEvent[] = messages.map(({ value }) => JSON.parse(String(value)));
        // Whoever reads of an event finds it in the bucket, whatever happens from here on.
        for (const event of told) expect(topics.kept.get(eventKey(event))).toEqual(event);
        topics.events.push(...told);
        fail('after events');
        return [];
      },
    },
  });
  const handler = createDetect({
    detector: {
      detect: async (frames) =>
        frames.map(({ frameNumber }) => ({
          model: 'm',
          width: 1000,
          height: 1000,
          detections: seenAt(frameNumber),
        })),
    },
    publish: async (frames) => {
      fail('before frames');
      topics.frames.push(...frames.map(({ frame }) => frame));
      fail('after frames');
      return [];
    },
    scenes,
    store: {
      put: async ({ key, body }) => {
        // The note of what came late has no body.
        if (body !== '') topics.kept.set(key, JSON.parse(String(body)));
      },
    },
    putFailed: async () => {},
    logger: { warn() {} },
  });
  return async (event: MSKEvent, next: Fault = 'none') => {
    fault = next;
    await handler(event);
  };
}

/** What reaches a reader who takes the newest of each frame, as S3 does. */
const idsByFrame = (frames: readonly DetectedFrame[]) =>
  new Map(
    frames.map((frame) => [
      `${frame.streamId} ${frame.frameNumber}`,
      frame.detections.map(({ track_id }) => track_id).join(),
    ]),
  );

async function undisturbed(): Promise<Topics> {
  const topics = new Topics();
  const invoke = startProcess(topics);
  for (let from = 0; from < source.length; from += 25) await invoke(eventOf(from, from + 25));
  return topics;
}
const byId = (events: readonly SceneEvent[]) => events.toSorted((a, b) => (a.event_id < b.event_id ? -1 : 1));

test('the undisturbed run has all kinds of events of both streams, and track ids on the frames', async () => {
  const { events, frames } = await undisturbed();
  expect(new Set(events.map(({ type, stream_id }) => `${stream_id} ${type}`)).size).toBe(10);
  expect(new Set(events.map(({ event_id }) => event_id)).size).toBe(events.length);
  expect([...idsByFrame(frames).values()]).toEqual(
    Array(160).fill(`${START.toString(36)}-0,${START.toString(36)}-1`),
  );
});

test('for any batch size each event is named on its frame, or by its time with the frames before it', async () => {
  for (const size of [1, 3, 25, source.length]) {
    const topics = new Topics();
    const invoke = startProcess(topics);
    for (let from = 0; from < source.length; from += size) await invoke(eventOf(from, from + size));
    const noted = topics.frames.flatMap(({ streamId, capturedAt, events = [], earlierEvents = [] }) =>
      [...events.map(() => capturedAt), ...earlierEvents].map((at) => `${streamId} ${at}`),
    );
    expect(new Set(noted)).toEqual(new Set(topics.events.map(({ stream_id, at }) => `${stream_id} ${at}`)));
  }
});

const step = fc.record({
  size: fc.integer({ min: 1, max: 40 }),
  fault: fc.constantFrom<Fault>(
    'none',
    'none',
    'before frames',
    'after frames',
    'before events',
    'after events',
  ),
  twice: fc.boolean(),
  process: fc.integer({ min: 0, max: 1 }),
  restart: fc.boolean(),
});

test('faults, redelivery, other batches, two processes and restarts give each event once with the same id', async () => {
  const expected = await undisturbed();
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 60 }), async (steps) => {
      const topics = new Topics();
      const processes = [startProcess(topics), startProcess(topics)];
      let committed = 0;
      for (let turn = 0; committed < source.length; turn++) {
        // Those that ran out of script end without faults.
        const { size, fault, twice, process, restart } = steps[turn] ?? {
          size: 25,
          fault: 'none',
          twice: false,
          process: 0,
          restart: false,
        };
        if (restart) processes[process] = startProcess(topics);
        const event = eventOf(committed, committed + size);
        const invoke = processes[process];
        const done = await invoke?.(event, fault).then(
          () => true,
          () => false,
        );
        if (!done) continue;
        if (twice) await invoke?.(event);
        committed += size;
      }
      expect(byId(topics.events)).toEqual(byId(expected.events));
      expect(byId([...topics.kept.values()])).toEqual(byId(expected.events));
      expect(idsByFrame(topics.frames)).toEqual(idsByFrame(expected.frames));
    }),
    { numRuns: 40, interruptAfterTimeLimit: 45_000 },
  );
}, 60_000);

test('a batch whose frames were never published loses no event when it is delivered again', async () => {
  const topics = new Topics();
  const invoke = startProcess(topics);
  await expect(invoke(eventOf(0, source.length), 'before frames')).rejects.toThrow('before frames');
  expect([...topics.kept]).toEqual([]);
  await invoke(eventOf(0, source.length));
  expect(byId([...topics.kept.values()])).toEqual(byId(topics.events));
  expect(topics.events.length).toBeGreaterThan(0);
});

test('a stream without a scene is published unchanged, without a read of the topic', async () => {
  const topics = new Topics();
  const read = vi.spyOn(topics.tail, 'newest');
  await startProcess(topics, new Map())(eventOf(0, 10));
  expect(topics.frames).toHaveLength(10);
  expect(
    topics.frames.every(
      ({ checkpoint, detections }) => !checkpoint && detections.every((one) => !('track_id' in one)),
    ),
  ).toBe(true);
  expect(topics.events).toEqual([]);
  expect(read).not.toHaveBeenCalled();
});

test('a process that knows no stream of a batch reads the states of a few at a time', async () => {
  const topics = new Topics();
  const ids = Array.from({ length: 12 }, (_, n) => `s${n}`);
  const records = ids.map((id, offset) => recordOf(offset, id, 0, START));
  let [running, most] = [0, 0];
  vi.spyOn(topics.tail, 'newest').mockImplementation(async function* () {
    most = Math.max(most, ++running);
    await setImmediate();
    running--;
    yield* [];
  });
  const invoke = startProcess(topics, new Map(ids.map((id) => [id, config])));
  await invoke({ ...eventOf(0, 0), records: { 'video-frames-0': records } });
  expect(topics.frames).toHaveLength(12);
  expect(most).toBeLessThanOrEqual(4);
});

test('a redriven record with an old checkpoint does not restore that checkpoint', async () => {
  const topics = new Topics();
  await startProcess(topics)(eventOf(0, 25));
  const old = topics.frames.filter(({ checkpoint }) => checkpoint);
  await startProcess(topics)(eventOf(25, 50));
  topics.frames.push(...old);
  await startProcess(topics)(eventOf(50, 75));
  const expected = idsByFrame((await undisturbed()).frames);
  const last = idsByFrame(topics.frames.slice(-25));
  expect([...last]).toEqual([...last.keys()].map((key) => [key, expected.get(key)]));
});

test('a handler that timed out, and still runs beside the next batch, does not change later results', async () => {
  const topics = new Topics();
  const invoke = startProcess(topics);
  await invoke(eventOf(0, 25));
  const slow = Promise.withResolvers<void>();
  let asked = 0;
  // First for the models, then once for each stream.
  topics.beforeConfigs = () => (asked++ === 0 ? undefined : slow.promise);
  const late = invoke(eventOf(0, 25));
  await vi.waitFor(() => expect(asked).toBe(1 + STREAMS.length));
  topics.beforeConfigs = undefined;
  // Longer than a lost object is remembered.
  await invoke(eventOf(25, 100));
  slow.resolve();
  await late;
  await invoke(eventOf(100, 160));
  const expected = await undisturbed();
  expect(idsByFrame(topics.frames)).toEqual(idsByFrame(expected.frames));
  expect(byId(topics.events)).toEqual(byId(expected.events));
});

test('a clock that was set back, and a frame rate too low for tracking, are logged once', async () => {
  const told: [string, object][] = [];
  const invoke = startProcess(new Topics(), undefined, (message, facts) => told.push([message, facts]));
  const back = Array.from({ length: 10 }, (_, number) =>
    recordOf(number, 'gate', number, START + 2_000 * number - (number < 5 ? 0 : 600_000)),
  );
  await invoke({ ...eventOf(0, 0), records: { 'video-frames-0': back } });
  expect(told).toEqual([
    [expect.stringContaining('raise FRAME_RATE'), { stream: 'gate', frames_a_second: 0.5 }],
    [
      expect.stringContaining('was set back'),
      { stream: 'gate', frame: 5, captured_at: new Date(START - 590_000).toISOString(), seconds: 598 },
    ],
  ]);
  const lines = write.mock.calls.map(([line]) => String(line));
  expect(lines.filter((line) => line.includes('"ClockSetBack":1'))).toHaveLength(1);
  expect(lines.filter((line) => line.includes('"SparseInterval":2000'))).toHaveLength(1);
});

test('filtered detections are counted by reason', async () => {
  const topics = new Topics();
  const filters = sceneConfigSchema.parse({ filters: { classes: ['person'], min_area: 0.5 } });
  await startProcess(topics, new Map([['gate', filters]]))(eventOf(0, 10));
  expect(
    topics.frames.filter(({ streamId }) => streamId === 'gate').flatMap(({ detections }) => detections),
  ).toEqual([]);
  const lines = write.mock.calls.map(([line]) => String(line));
  expect(lines.some((line) => line.includes('"FilteredByArea":10') && line.includes('"stream":"gate"'))).toBe(
    true,
  );
});

test('a changed list of streams is read again, and an invalid one is not used', () => {
  const folder = mkdtempSync(join(tmpdir(), 'scenes-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'streams.yaml');
  const put = (text: string) => {
    writeFileSync(`${file}.new`, text);
    renameSync(`${file}.new`, file);
  };
  const log = { info: vi.fn(), error: vi.fn() };
  put('- id: yard\n');
  const scenes = scenesReader({ STREAMS: undefined, STREAMS_FILE: file }, log);
  expect([...scenes().keys()]).toEqual([]);
  put('- id: yard\n  scene: {}\n');
  expect([...scenes().keys()]).toEqual(['yard']);
  expect(scenes()).toBe(scenes());
  expect(log.info).toHaveBeenCalledTimes(1);
  put('- id: yard\n  scene: 5\n');
  expect([...scenes().keys()]).toEqual(['yard']);
  expect(scenes().size).toBe(1);
  expect(log.error).toHaveBeenCalledTimes(1);
  rmSync(file);
  expect(scenes().size).toBe(1);
  expect(log.error).toHaveBeenCalledTimes(2);
  put('- id: door\n  scene: {}\n');
  expect([...scenes().keys()]).toEqual(['door']);
});

import { detectionsKey } from '@video-pipeline/frame';
import { sceneConfigSchema } from '@video-pipeline/scene';
import { NotOursError, type Reader } from '@video-pipeline/storage';
import { expect, onTestFinished, test, vi } from 'vitest';
import { replayScene, storedDetections } from './scene-replay.ts';

const START = Date.UTC(2026, 10, 25, 6, 59, 58);
const config = sceneConfigSchema.parse({
  lines: { gate: { from: [0.5, 1], to: [0.5, 0] } },
  events: [{ type: 'line_crossed', name: 'through', line: 'gate' }],
});
/** Somebody walks through the gate in four seconds, over the full hour. */
const lines = Array.from({ length: 40 }, (_, number) => {
  const x = 300 + 10 * number;
  return JSON.stringify({
    stream_id: 'door',
    session: 's',
    frame_number: number,
    captured_at: START + 100 * number,
    width: 1000,
    height: 1000,
    model: 'm',
    detections: [{ class_id: 0, class_name: 'person', confidence: 0.9, bbox: [x - 50, 300, x + 50, 500] }],
    annotated_key: `annotated/door/${number}.jpg`,
  });
});
const replay = { streamId: 'door', config, from: START, to: START + 60_000, prefix: 'annotated' };

/** A bucket that holds the lines, some in each object, as annotate names them. */
function bucketOf(batches: [offset: number, number: number, count: number][]): Reader {
  const objects = new Map(
    batches.map(([offset, number, count]) => [
      detectionsKey(
        { streamId: 'door', capturedAt: START + 100 * number },
        { topic: 'detections', partition: 0, offset },
      ),
      `${lines.slice(number, number + count).join('\n')}\n`,
    ]),
  );
  return {
    page: async (prefix, { after = '' } = {}) => ({
      objects: [...objects.keys()]
        .filter((key) => key.startsWith(prefix) && key > after)
        .sort()
        .map((key) => ({ key, stored: 0, etag: '', size: 0 })),
    }),
    read: async (key) => Buffer.from(objects.get(key) ?? ''),
  };
}

test('stored detections give the events of the live scene, whatever the order of object names', async () => {
  // Offsets 98 and 103: the later one sorts first. Line 12 is in two objects, as after a second delivery.
  const bucket = bucketOf([
    [98, 0, 13],
    [103, 12, 8],
    [111, 20, 20],
  ]);
  const { frames, events } = await replayScene(storedDetections(bucket, replay), replay);
  expect(frames).toBe(40);
  expect(events.map(({ type, rule, at, direction }) => ({ type, rule, at, direction }))).toEqual([
    { type: 'line_crossed', rule: 'through', at: START + 2_100, direction: 'right' },
  ]);
});

test('the replay remembers the frames of one hour, however long the time range is', async () => {
  const sizes: number[] = [];
  const add = Set.prototype.add;
  const spy = vi.spyOn(Set.prototype, 'add').mockImplementation(function (this: Set<unknown>, item) {
    if (/^s \d+$/.test(String(item))) sizes.push(this.size);
    return add.call(this, item);
  });
  onTestFinished(() => spy.mockRestore());
  const texts = async function* () {
    // Each hour's text is there twice.
    for (let hour = 0; hour < 10; hour++) {
      const at = (line: string) => {
        const { captured_at, ...facts } = JSON.parse(line);
        return JSON.stringify({ ...facts, captured_at: Date.UTC(2026, 10, 25, hour) });
      };
      const text = lines.map(at).join('\n');
      yield* [text, text].map((one) => ({ text: one, where: 'a.ndjson' }));
    }
  };
  const day = { ...replay, from: Date.UTC(2026, 10, 25), to: Date.UTC(2026, 10, 26) };
  expect(await replayScene(texts(), day)).toMatchObject({ frames: 400 });
  expect(Math.max(...sizes)).toBe(39);
});

test('only the hours of the time range are listed', async () => {
  const hour = (name: string) => `detections/door/date=2026-11-25/hour=${name}/detections-0-7.ndjson`;
  const listed: string[] = [];
  const bucket: Reader = {
    async page(prefix, { after = '' } = {}) {
      listed.push(prefix);
      const keys = ['04', '05', '06', '07', '08'].map(hour).filter((key) => key > after);
      return { objects: keys.map((key) => ({ key, stored: 0, etag: '', size: 0 })) };
    },
    read: async () => Buffer.alloc(0),
  };
  const range = { streamId: 'door', from: Date.UTC(2026, 10, 25, 5, 30), to: Date.UTC(2026, 10, 25, 7) };
  const texts = await Array.fromAsync(storedDetections(bucket, range));
  expect(texts.map(({ where }) => where)).toEqual([hour('05'), hour('06')]);
  expect(listed).toHaveLength(1);
});

test('only frames of the time range and of the stream are replayed', async () => {
  const texts = async function* () {
    yield { text: lines.join('\n'), where: 'a.ndjson' };
  };
  const short = await replayScene(texts(), { ...replay, to: START + 1_000 });
  expect(short).toEqual({ frames: 10, events: [], until: START + 900 });
  const other = await replayScene(texts(), { ...replay, streamId: 'yard' });
  expect(other).toEqual({ frames: 0, events: [], until: START });
});

test('lines that annotate did not write are named, and all others are replayed', async () => {
  const texts = async function* () {
    yield { text: ['{', ...lines, '{"stream_id":"door"}', '[]'].join('\n'), where: 'a.ndjson' };
    yield { text: 'x\n'.repeat(12), where: 'b.txt' };
  };
  const foreign: string[] = [];
  const onForeign = ({ message }: Error) => void foreign.push(message);
  expect(await replayScene(texts(), { ...replay, onForeign })).toMatchObject({ frames: 40 });
  expect(foreign).toEqual([
    'a.ndjson has lines that annotate did not write: 1, 42, 43',
    'b.txt has lines that annotate did not write: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 2 more',
  ]);
});

test('a foreign object that no stage has stored is named, and the others are read', async () => {
  const bucket = bucketOf([
    [1, 0, 20],
    [2, 20, 20],
  ]);
  const read: Reader['read'] = async (key) => {
    if (key.endsWith('-1.ndjson')) throw new NotOursError(key, 'is too large');
    return bucket.read(key);
  };
  const foreign: string[] = [];
  const onForeign = ({ message }: Error) => void foreign.push(message);
  const { frames } = await replayScene(storedDetections({ ...bucket, read }, replay), {
    ...replay,
    onForeign,
  });
  expect({ frames, foreign }).toEqual({
    frames: 20,
    foreign: [expect.stringContaining('-1.ndjson is too large')],
  });
});

test('frames of a stream that moved to another partition are replayed in the order of their batches', async () => {
  const moved = bucketOf([
    [900, 0, 20],
    [7, 20, 20],
  ]);
  const bucket: Reader = {
    ...moved,
    async page(prefix, options) {
      const { objects } = await moved.page(prefix, options);
      // The second batch is of partition 1.
      return {
        objects: objects.map((one) =>
          one.key.endsWith('-7.ndjson') ? { ...one, key: one.key.replace('-0-7', '-1-7'), stored: 9 } : one,
        ),
      };
    },
    read: (key) => moved.read(key.replace('-1-7', '-0-7')),
  };
  const { events } = await replayScene(storedDetections(bucket, replay), replay);
  expect(events.map(({ at }) => at)).toEqual([START + 2_100]);
});

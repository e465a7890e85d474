import { setImmediate } from 'node:timers/promises';
import {
  type DetectedFrame,
  encodeDetectedFrame,
  encodeReference,
  type MSKRecord,
  type Position,
} from '@video-pipeline/frame';
import type { TailRecord } from '@video-pipeline/kafka';
import { describe, expect, test } from 'vitest';
import { type Random, randomOf } from '../../test/support/random.ts';
import { createPictureChooser, earlierFrom, type KeepRule } from './keep-pictures.ts';
import type { Received } from './records.ts';

const RULE: KeepRule = { classes: new Set(['person']), beforeMs: 1_000, afterMs: 2_000 };
const T0 = Date.UTC(2026, 10, 25, 7);

/** A frame with a person, a car or an event in it, or with nothing. */
function frameOf(
  streamId: string,
  number: number,
  what: 'person' | 'car' | 'event' | undefined,
): DetectedFrame {
  const box = { class_id: 0, confidence: 0.9, bbox: [1, 2, 30, 40] as [number, number, number, number] };
  return {
    ...{ streamId, frameNumber: number, session: 's1', width: 64, height: 48, model: 'm' },
    capturedAt: T0 + number * 100,
    jpeg: Buffer.from(`${streamId}/${number}`),
    detections: what === 'person' || what === 'car' ? [{ ...box, class_name: what }] : [],
    ...(what === 'event' ? { events: [`${streamId}:${number}`] } : {}),
  };
}

const idOf = ({ streamId, frameNumber }: DetectedFrame) => `${streamId}/${frameNumber}`;

/** What Kafka has: the topic that is read, and with `once` the references that are published for it. */
function kafkaOf(frames: readonly DetectedFrame[], pictures: 'twice' | 'once') {
  const topic = pictures === 'once' ? 'video-frames' : 'detections';
  const received = frames.map(
    (frame, offset): Received<DetectedFrame> => ({
      record: { topic, partition: 3, offset } as MSKRecord,
      frame,
    }),
  );
  const asRecord = (encoded: ReturnType<typeof encodeDetectedFrame>, offset: number) =>
    ({ ...encoded, key: Buffer.from(encoded.key), offset }) as unknown as TailRecord;
  const log = frames.map((frame, offset) => asRecord(encodeDetectedFrame(frame), offset));
  const published: TailRecord[] = [];
  let readBack = 0;
  const earlier = earlierFrom(
    {
      async *before({ offset }: Position) {
        for (const record of log.slice(0, offset).reverse()) {
          readBack++;
          yield record;
        }
      },
      async *newest() {
        for (const record of published.toReversed()) {
          readBack++;
          yield record;
        }
      },
      at: async (places) => places.map((place) => ({ ...place, ...(log[place.offset] as TailRecord) })),
    },
    'detections',
  );
  const publish = (batch: readonly Received<DetectedFrame>[]) => {
    if (pictures === 'twice') return;
    for (const { record, frame } of batch)
      published.push(asRecord(encodeReference(frame, { ...record, annotated_key: '' }), published.length));
  };
  return { received, earlier, publish, readBack: () => readBack };
}

/** Frames that are to be kept, by the rule alone. */
function wanted(frames: readonly DetectedFrame[]): string[] {
  const timesIn = ({ events, earlierEvents = [], detections: [one], capturedAt }: DetectedFrame) =>
    events || one?.class_name === 'person' ? [capturedAt, ...earlierEvents] : earlierEvents;
  return frames
    .filter(({ streamId, capturedAt }) =>
      frames.some(
        (other) =>
          other.streamId === streamId &&
          timesIn(other).some(
            (time) => time - RULE.beforeMs <= capturedAt && capturedAt <= time + RULE.afterMs,
          ),
      ),
    )
    .map(idOf)
    .sort();
}

/** Two streams in one partition, in which something is seen now and then. The clock of one of them is set at times. */
function scenario(random: Random): DetectedFrame[] {
  const whats = [...Array(60).fill(undefined), 'person', 'car', 'event'] as const;
  const steps = [...Array(200).fill(0), -600_000, 300_000] as const;
  let ahead = 0;
  const frames = Array.from({ length: 400 }, (_, index) => {
    const frame = frameOf(index % 3 ? 'gate' : 'yard', index, whats[random.integer(0, whats.length - 1)]);
    ahead += steps[random.integer(0, steps.length - 1)];
    return { ...frame, capturedAt: frame.capturedAt + (index % 3 ? ahead : 0) };
  });
  // Events that are certain only up to three seconds later.
  return frames.map((frame, index) => {
    const happened = random.next() < 0.01 ? frames[index - 3 * random.integer(1, 10)] : undefined;
    const delay = frame.capturedAt - (happened?.capturedAt ?? frame.capturedAt);
    return happened && delay > 0 && delay <= 3_000
      ? { ...frame, earlierEvents: [happened.capturedAt] }
      : frame;
  });
}

describe.each(['twice', 'once'] as const)('with STORE=events and PICTURES=%s, pictures', (pictures) => {
  test.each(Array.from({ length: 40 }, (_, seed) => seed))(
    'around events and detections are stored, for any batches, processes and redelivery (seed %i)',
    async (seed) => {
      const random = randomOf(seed);
      const frames = scenario(random);
      const { received, earlier, publish } = kafkaOf(frames, pictures);
      const kept = new Set<string>();
      const processes = [createPictureChooser(RULE, earlier), createPictureChooser(RULE, earlier)];
      let choosePictures = processes[0] as (typeof processes)[number];
      for (let begin = 0; begin < received.length; ) {
        // A new process, or one that was away meanwhile.
        if (random.next() < 0.3) choosePictures = createPictureChooser(RULE, earlier);
        if (random.next() < 0.3) choosePictures = processes[random.integer(0, 1)] as typeof choosePictures;
        const batch = received.slice(begin, begin + random.integer(1, 40));
        publish(batch);
        const choice = await choosePictures(batch);
        const all = [...choice.kept, ...choice.earlier];
        if (random.next() < 0.2) {
          // Some are stored, then the batch fails, and is delivered again, cut elsewhere.
          for (const frame of all.slice(0, random.integer(0, all.length))) kept.add(idOf(frame));
          continue;
        }
        for (const frame of all) kept.add(idOf(frame));
        choice.commit();
        // At times it is not committed in Kafka.
        if (random.next() < 0.2) continue;
        begin += batch.length;
      }
      expect([...kept].sort()).toEqual(wanted(frames));
    },
  );

  test('are read from Kafka again only when they were not stored, and not while an object stays', async () => {
    const frames = Array.from({ length: 200 }, (_, n) => frameOf('gate', n, n < 30 ? undefined : 'person'));
    const { received, earlier, publish, readBack } = kafkaOf(frames, pictures);
    const choosePictures = createPictureChooser(RULE, earlier);
    const batches = Array.from({ length: 8 }, (_, n) => received.slice(n * 25, n * 25 + 25));
    const kept: string[] = [];
    for (const batch of batches) {
      publish(batch);
      const choice = await choosePictures(batch);
      kept.push(...[...choice.kept, ...choice.earlier].map(idOf));
      choice.commit();
    }
    expect(kept.sort()).toEqual(wanted(frames));
    // At the first batch there is nothing; at the second, the second before its sixth frame.
    expect(readBack()).toBeLessThan(100);
  });

  test('are stored although a handler that timed out ends after a later batch', async () => {
    const frames = Array.from({ length: 60 }, (_, n) => frameOf('gate', n, n === 35 ? 'person' : undefined));
    const { received, earlier, publish } = kafkaOf(frames, pictures);
    const keeping = createPictureChooser(RULE, earlier);
    const [first, second, third] = [0, 20, 40].map((begin) => received.slice(begin, begin + 20));
    const chosen = async (batch: typeof received = []) => {
      publish(batch);
      return keeping(batch);
    };
    const late = await chosen(first);
    (await chosen(first)).commit();
    (await chosen(second)).commit();
    late.commit();
    const { kept } = await chosen(third);
    expect([...kept].map(({ frameNumber }) => frameNumber)).toEqual(
      Array.from({ length: 16 }, (_, n) => 40 + n),
    );
  });

  test('that Kafka has deleted, and dead letters among them, do not stop the handler', async () => {
    const frames = Array.from({ length: 20 }, (_, n) => frameOf('gate', n, n === 10 ? 'person' : undefined));
    const { received, publish } = kafkaOf(frames, pictures);
    const broken: TailRecord = { offset: 0, key: Buffer.from('gate'), value: Buffer.from('x'), headers: {} };
    const none = earlierFrom(
      {
        async *before() {
          yield broken;
        },
        async *newest() {
          yield broken;
        },
        at: async () => [],
      },
      'detections',
    );
    publish(received);
    const choice = await createPictureChooser(RULE, none)(received.slice(10));
    expect([...choice.kept].map(({ frameNumber }) => frameNumber)).toEqual([
      10, 11, 12, 13, 14, 15, 16, 17, 18, 19,
    ]);
    expect(choice.earlier).toEqual([]);
  });
});

test('a frame with more event times than a call may have arguments does not fail its batch', async () => {
  const frames = [1, 2].map((number) => frameOf('gate', number, 'event'));
  const times = Array.from({ length: 200_000 }, (_, index) => T0 - 1_000_000 - index);
  const { received, earlier } = kafkaOf(frames, 'twice');
  const [first] = received;
  if (first) first.frame = { ...first.frame, earlierEvents: times };
  const { kept } = await createPictureChooser(RULE, earlier)(received);
  expect(kept.size).toBe(2);
});

test('earlier frames of many streams are read a few at a time, and hold no more than their own pictures', async () => {
  const streams = Array.from({ length: 12 }, (_, n) => `s${n}`);
  const { received } = kafkaOf(
    streams.map((stream) => frameOf(stream, 50, 'event')),
    'twice',
  );
  const batch = Buffer.alloc(1_000_000);
  const { key, headers } = encodeDetectedFrame(frameOf('s0', 49, undefined));
  const value = batch.subarray(0, 5_000);
  const reader = earlierFrom(
    {
      async *before() {
        yield { offset: 1, key: Buffer.from(key), value, headers: headers as never };
      },
      async *newest() {},
      at: async () => [],
    },
    'detections',
  );
  let [running, most] = [0, 0];
  const earlier: typeof reader = {
    ...reader,
    async since(...args) {
      most = Math.max(most, ++running);
      await setImmediate();
      running--;
      return reader.since(...args);
    },
  };
  const choice = await createPictureChooser(RULE, earlier)(received);
  expect(most).toBeLessThanOrEqual(4);
  expect(choice.earlier.map(({ jpeg }) => [jpeg.length, jpeg.buffer === batch.buffer])).toEqual([
    [5_000, false],
  ]);
});

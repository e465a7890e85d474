import { setTimeout as delay } from 'node:timers/promises';
import type { Frame } from '@video-pipeline/frame';
import { TooLargeError } from '@video-pipeline/kafka';
import { expect, test } from 'vitest';
import { Publisher, type Send } from './publisher.ts';

function frame(frameNumber: number, streamId = 'yard', bytes = 10): Frame {
  const capturedAt = 1_700_000_000_000 + frameNumber * 100;
  return { streamId, frameNumber, session: 's', capturedAt, width: 2, height: 2, jpeg: Buffer.alloc(bytes) };
}

function setup(send: Send, bufferBytes = 10_000_000, laneOf: (streamId: string) => number = () => 0) {
  const published: number[] = [];
  const dropped: number[] = [];
  const errors: string[] = [];
  const events = {
    published: (frames: Frame[]) => void published.push(...frames.map((one) => one.frameNumber)),
    dropped: (frames: Frame[]) => void dropped.push(...frames.map((one) => one.frameNumber)),
    failed: (error: Error) => void errors.push(error.message),
  };
  const publisher = new Publisher(send, events, {
    bufferMs: 1000,
    bufferBytes,
    maxWaiting: 5,
    retryMs: 5,
    laneOf,
  });
  return { publisher, published, dropped, errors };
}

const numbers = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => from + index);

test('frames are sent in order, and frames that arrive during a send are sent together', async () => {
  const sends: number[] = [];
  const { publisher, published } = setup(async (records) => {
    sends.push(records.length);
    await delay(5);
  });
  for (const number of numbers(0, 10)) publisher.offer(frame(number, number % 2 ? 'yard' : 'door'));
  await publisher.flush();
  expect(published.filter((number) => number % 2)).toEqual(numbers(0, 10).filter((number) => number % 2));
  expect(published).toHaveLength(10);
  expect(sends.length).toBeLessThan(5);
});

test('a send stays below the size limit of the broker', async () => {
  const sizes: number[] = [];
  const { publisher } = setup(async (records) => {
    sizes.push(records.reduce((sum, { value }) => sum + value.length, 0));
  });
  for (const number of numbers(0, 10)) publisher.offer(frame(number, `cam-${number}`, 160_000));
  await publisher.flush();
  expect(Math.max(...sizes)).toBeLessThanOrEqual(900_000);
  expect(sizes.reduce((sum, size) => sum + size)).toBe(1_600_000);
});

test('while Kafka is unreachable the newest second of frames is kept, and older frames are dropped and counted', async () => {
  let away = true;
  const { publisher, published, dropped, errors } = setup(async () => {
    if (away) throw new Error('away');
  });
  for (const number of numbers(0, 100)) {
    publisher.offer(frame(number), number * 100);
    if (number === 0) await delay(1);
  }
  away = false;
  await publisher.flush();
  // The first was being sent; it may be in Kafka already, so it is not dropped.
  expect(published).toEqual([0, ...numbers(89, 100)]);
  expect(dropped).toEqual(numbers(1, 89));
  expect(errors[0]).toBe('away');
});

test.each([
  ['ahead', 3_600_000],
  ['back', -3_600_000],
])('a host clock that is set %s by an hour drops no buffered frame', async (_, step) => {
  let away = true;
  const { publisher, published, dropped } = setup(async () => {
    if (away) throw new Error('away');
  });
  for (const number of numbers(0, 10)) {
    const { capturedAt, ...one } = frame(number);
    publisher.offer({ ...one, capturedAt: capturedAt + (number < 5 ? 0 : step) }, number * 100);
    if (number === 0) await delay(1);
  }
  away = false;
  await publisher.flush();
  expect([published, dropped]).toEqual([numbers(0, 10), []]);
});

test('while Kafka is unreachable all buffers are limited together, and the largest drops its oldest frames', async () => {
  let away = true;
  const { publisher, published, dropped } = setup(async () => {
    if (away) throw new Error('away');
  }, 1_000);
  publisher.offer(frame(0, 'first'));
  await delay(1);
  for (const number of numbers(1, 10)) {
    publisher.offer(frame(number, 'large', 300));
    publisher.offer(frame(number + 100, 'small', 10));
    expect(publisher.waitingBytes).toBeLessThanOrEqual(1_000);
  }
  expect(dropped).toEqual(numbers(1, 7));
  away = false;
  await publisher.flush();
  expect(published.toSorted((one, other) => one - other)).toEqual([
    0,
    ...numbers(7, 10),
    ...numbers(101, 110),
  ]);
  expect(publisher.waitingBytes).toBe(0);
});

test('a file loses no frame to the limit of buffered bytes', async () => {
  const { publisher, published, dropped } = setup(() => delay(1), 1_000);
  for (const number of numbers(0, 20)) {
    await publisher.put(frame(number, 'file', 400), new AbortController().signal);
    publisher.offer(frame(number + 100, 'yard', 10));
  }
  await publisher.flush();
  expect(published).toHaveLength(40);
  expect(dropped).toEqual([]);
});

test('a file is read more slowly (backpressure), and loses no frame', async () => {
  let most = 0;
  const { publisher, published, dropped } = setup(async (records) => {
    most = Math.max(most, records.length);
    await delay(1);
  });
  for (const number of numbers(0, 200)) await publisher.put(frame(number), new AbortController().signal);
  await publisher.flush();
  expect(published).toEqual(numbers(0, 200));
  expect(dropped).toEqual([]);
  expect(most).toBeLessThanOrEqual(5);
});

test('at a stop while Kafka is unreachable, remaining frames are dropped and counted', async () => {
  const { publisher, published, dropped } = setup(() => new Promise(() => {}));
  for (const number of numbers(0, 3)) publisher.offer(frame(number));
  await publisher.flush(20);
  expect(published).toEqual([]);
  expect(dropped).toEqual([0, 1, 2]);
});

test('a send that hangs blocks no other partition, and a stream that changes its partition waits for it', async () => {
  const lanes = new Map([
    ['hung', 1],
    ['moved', 1],
  ]);
  const hung = Promise.withResolvers<void>();
  const sends: string[][] = [];
  const { publisher, published } = setup(
    async (records) => {
      sends.push(records.map(({ key, headers }) => `${key}/${headers.frame_number}`));
      if (records.some(({ key }) => key === 'hung')) await hung.promise;
    },
    10_000_000,
    (streamId) => lanes.get(streamId) ?? 0,
  );
  const offer = (streamId: string, number: number) => publisher.offer(frame(number, streamId));
  for (const stream of ['hung', 'moved', 'door']) for (const number of [0, 1]) offer(stream, number);
  await delay(1);
  expect(sends).toEqual([['hung/0'], ['door/0'], ['door/1']]);
  lanes.set('moved', 0);
  for (const stream of ['moved', 'door']) offer(stream, 2);
  await delay(1);
  expect(published).toEqual([0, 1, 0, 1, 2, 2]);
  expect(sends.slice(3).flat()).toEqual(['moved/0', 'moved/1', 'moved/2', 'door/2']);
  lanes.set('hung', 0);
  offer('hung', 2);
  await delay(1);
  expect(sends.flat().filter((name) => name.startsWith('hung'))).toEqual(['hung/0']);
  hung.resolve();
  await publisher.flush();
  expect(sends.flat().filter((name) => name.startsWith('hung'))).toEqual(['hung/0', 'hung/1', 'hung/2']);
});

test('frames that waited for a former partition are sent to the new one', async () => {
  let isKnown = false;
  const lanes = new Map([
    ['yard', 1],
    ['door', 2],
  ]);
  const { publisher, published } = setup(
    async () => {
      await delay(1);
      isKnown = true;
    },
    10_000_000,
    (streamId) => (isKnown ? (lanes.get(streamId) ?? 0) : 0),
  );
  for (const stream of lanes.keys()) for (const number of [0, 1]) publisher.offer(frame(number, stream));
  await publisher.flush();
  expect(published.sort()).toEqual([0, 0, 1, 1]);
});

test('frames too large for the topic are dropped and counted, and the others of the send are published', async () => {
  let sends = 0;
  const { publisher, published, dropped, errors } = setup(async (records) => {
    sends += 1;
    const large = records.filter(({ value }) => value.length > 100);
    if (large.length > 0) throw new TooLargeError('video-frames', large);
  });
  publisher.offer(frame(0));
  for (const number of numbers(1, 5)) publisher.offer(frame(number, 'yard', number === 2 ? 500 : 10));
  await publisher.flush();
  expect([published, dropped, sends]).toEqual([[0, 1, 3, 4], [2], 2]);
  expect(errors[0]).toContain("'yard' of 500 bytes");
});

test.each(['a file after its camera', 'a camera after its file'])(
  '%s, while Kafka is unreachable: frames of the file are kept, and those of the camera limited',
  async (which) => {
    let away = true;
    const { publisher, published, dropped } = setup(async () => {
      if (away) throw new Error('away');
    });
    const { signal } = new AbortController();
    const began = performance.now();
    const isFile = (number: number) => which.startsWith('a file') === number > 1;
    for (const number of numbers(0, 100)) {
      if (isFile(number)) void publisher.put(frame(number), signal);
      else publisher.offer(frame(number), began + number * 100);
      if (number === 0) await delay(1);
    }
    away = false;
    await publisher.flush();
    const kept = which.startsWith('a file') ? numbers(0, 100) : [0, ...numbers(89, 100)];
    expect([published, dropped.length]).toEqual([kept, 100 - kept.length]);
  },
);

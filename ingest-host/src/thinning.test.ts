import { setTimeout as sleep } from 'node:timers/promises';
import { readConfig } from '@video-pipeline/config';
import type { Kafka } from '@video-pipeline/kafka';
import { STAGE_VARIABLES } from '@video-pipeline/stages';
import { expect, test, vi } from 'vitest';
import { pipelineDelay } from './pipeline-delay.ts';
import { watchPipeline } from './pipeline-watch.ts';
import { Thinning, windowOf } from './thinning.ts';

const STEP_MS = 20;
const BEGIN_MS = 1_700_000_000_000;
const BATCH = { size: 25, seconds: 0.5 };
const DEFAULTS = {
  maxLatencySeconds: 5,
  minFrameRate: 1,
  batchSize: BATCH.size,
  batchSeconds: BATCH.seconds,
};

interface Frame {
  stream: string;
  capturedAt: number;
}

/** A stage as the event-source mapping runs it: a batch at a time, closed when it is full or old. */
class Stage {
  readonly #queue: { frame: Frame; at: number }[] = [];
  #working: Frame[] = [];
  #doneAt = 0;
  #end = 0;
  #committed = 0;

  put(frame: Frame, at: number): void {
    this.#queue.push({ frame, at });
    this.#end += 1;
  }

  /** @returns the frames that are finished now */
  run(at: number, capacity: number): Frame[] {
    let done: Frame[] = [];
    if (this.#working.length > 0 && at >= this.#doneAt) {
      done = this.#working;
      this.#working = [];
      this.#committed += done.length;
    }
    const isDue = this.#queue.length >= BATCH.size || at - (this.#queue[0]?.at ?? at) >= 1000 * BATCH.seconds;
    if (this.#working.length === 0 && isDue && capacity > 0) {
      this.#working = this.#queue.splice(0, BATCH.size).map(({ frame }) => frame);
      this.#doneAt = at + (1000 * this.#working.length) / capacity;
    }
    return done;
  }

  lag() {
    return [{ partition: 0, committed: this.#committed, end: this.#end, lag: this.#end - this.#committed }];
  }
}

interface Stream {
  fps: number;
  /** Seconds until its first picture. */
  after?: number;
  priority?: number;
}

/** A pipeline of fixed capacity behind streams of fixed rates. */
class Simulation {
  readonly thinning: Thinning;
  readonly #delayOf = pipelineDelay(windowOf(DEFAULTS));
  readonly #streams: Record<string, Stream>;
  readonly #detect = new Stage();
  readonly #annotate = new Stage();
  #now = BEGIN_MS;
  readonly #captured: Frame[] = [];
  stored: { stream: string; at: number; seconds: number }[] = [];

  constructor(streams: Record<string, Stream>, settings: Partial<typeof DEFAULTS> = {}) {
    this.#streams = streams;
    this.thinning = new Thinning({ ...DEFAULTS, ...settings });
  }

  /** @param capacity frames a second that detection takes; storing them takes a fifth of that */
  run(seconds: number, capacity: number): this {
    for (const end = this.#now + 1000 * seconds; this.#now < end; this.#now += STEP_MS) {
      const now = this.#now;
      for (const [stream, { fps, priority, after = 0 }] of Object.entries(this.#streams)) {
        const gate = this.thinning.gate(stream, { ...(priority ? { priority } : {}), frameRate: fps });
        const interval = 1000 / fps;
        if (now < BEGIN_MS + 1000 * after) continue;
        if (Math.floor(now / interval) === Math.floor((now - STEP_MS) / interval)) continue;
        if (!gate.passes()) continue;
        this.#captured.push({ stream, capturedAt: now });
        this.#detect.put({ stream, capturedAt: now }, now);
      }
      for (const frame of this.#detect.run(now, capacity)) this.#annotate.put(frame, now);
      for (const { stream, capturedAt } of this.#annotate.run(now, 5 * capacity))
        this.stored.push({ stream, at: now, seconds: (now - capturedAt) / 1000 });
      if (now % 1000 < STEP_MS) {
        const lags = { detect: this.#detect.lag(), annotate: this.#annotate.lag() };
        this.thinning.update(this.#delayOf(new Map(Object.entries(lags)), now));
      }
    }
    return this;
  }

  /** Frames a second that went in, over the last seconds. */
  captured(seconds: number): Record<string, number> {
    const recent = this.#captured.filter(({ capturedAt }) => capturedAt >= this.#now - 1000 * seconds);
    return this.#rates(recent, seconds);
  }

  #rates(frames: readonly { stream: string }[], seconds: number): Record<string, number> {
    const of = (id: string) => frames.filter(({ stream }) => stream === id).length / seconds;
    return Object.fromEntries(Object.keys(this.#streams).map((id) => [id, of(id)]));
  }

  /** Of the last seconds: stored frames a second by stream, and the 95th percentile of their latency, seconds. */
  last(seconds: number) {
    const recent = this.stored.filter(({ at }) => at >= this.#now - 1000 * seconds);
    const sorted = recent.map((one) => one.seconds).sort((a, b) => a - b);
    return {
      rates: this.#rates(recent, seconds),
      p95: sorted[Math.floor(0.95 * sorted.length)] ?? Number.POSITIVE_INFINITY,
    };
  }
}

const THREE = { a: { fps: 10 }, b: { fps: 10 }, c: { fps: 10 } };
const total = (rates: Record<string, number>) => Object.values(rates).reduce((sum, rate) => sum + rate, 0);

test.each([6, 8, 12, 17, 25])(
  '30 frames/s into a pipeline of %i frames/s: latency stays within the bound',
  (capacity) => {
    const simulation = new Simulation(THREE).run(300, capacity);
    expect(simulation.last(240).p95).toBeLessThan(DEFAULTS.maxLatencySeconds);
    // Most of what it can take is given to it, each stream as much of it.
    const { rates } = simulation.last(120);
    expect(total(rates)).toBeGreaterThan(0.7 * capacity);
    for (const rate of Object.values(rates)) expect(rate / (total(rates) / 3)).toBeCloseTo(1, 1);
  },
);

const FOUR = { ...THREE, d: { fps: 10 } };

test.each([5, 7, 10, 14, 20, 40])(
  'with %i cameras and a cold start, the latency of each minute is within the bound',
  (capacity) => {
    const simulation = new Simulation(FOUR).run(4, Math.min(capacity, 5)).run(56, capacity);
    expect(simulation.last(60).p95).toBeLessThan(DEFAULTS.maxLatencySeconds);
    simulation.run(60, capacity);
    expect(simulation.last(60).p95).toBeLessThan(0.9 * DEFAULTS.maxLatencySeconds);
    expect(total(simulation.last(60).rates)).toBeGreaterThan(0.85 * Math.min(capacity, 40));
  },
);

test.each([1, 4, 8, 20])(
  'many cameras whose first pictures come after %i s do not exceed the latency bound',
  (after) => {
    const late = Object.fromEntries(Object.entries(FOUR).map(([id, { fps }]) => [id, { fps, after }]));
    const simulation = new Simulation(late).run(after + 60, 5);
    expect(simulation.last(60).p95).toBeLessThan(DEFAULTS.maxLatencySeconds);
    expect(total(simulation.last(30).rates)).toBeGreaterThan(0.85 * 5);
  },
);

test('within five seconds of the start, a pipeline with enough capacity gets all frames', () => {
  expect(total(new Simulation(THREE).run(5, 40).captured(1))).toBeCloseTo(30, 0);
});

test('while the pipeline processes nothing, each stream has its minimum rate', () => {
  expect(total(new Simulation(FOUR).run(60, 0).captured(50))).toBeCloseTo(4, 0);
});

test('a pipeline with enough capacity gets all frames, without thinning', () => {
  const simulation = new Simulation(THREE).run(140, 40);
  expect(total(simulation.last(100).rates)).toBeCloseTo(30, 0);
  expect(simulation.thinning.isThinning).toBe(false);
});

test('a low frame rate whose batches fill slowly is not thinned, as this would not lower the latency', () => {
  const simulation = new Simulation({ a: { fps: 2 } }, { batchSeconds: 5 }).run(120, 40);
  expect(simulation.thinning.isThinning).toBe(false);
});

test('rates follow a lower capacity, and a higher one up to all frames', () => {
  const simulation = new Simulation(THREE).run(60, 40).run(120, 10);
  expect(simulation.last(60).p95).toBeLessThan(DEFAULTS.maxLatencySeconds);
  simulation.run(90, 40);
  expect(total(simulation.last(30).rates)).toBeCloseTo(30, 0);
});

test('after a minute without processing, latency is within the bound again after another minute', () => {
  const simulation = new Simulation(THREE).run(60, 12).run(60, 0).run(120, 12);
  expect(simulation.last(60).p95).toBeLessThan(DEFAULTS.maxLatencySeconds);
});

test('no stream is thinned below its minimum rate, and a stream with a lower rate is not thinned', () => {
  const streams = { ...THREE, slow: { fps: 0.5 } };
  const rates = new Simulation(streams, { minFrameRate: 2 }).run(200, 4).captured(100);
  for (const id of ['a', 'b', 'c']) expect(rates[id]).toBeCloseTo(2, 0);
  expect(rates.slow).toBeCloseTo(0.5, 1);
});

test('a stream of higher priority keeps its frames, and the others share the rest', () => {
  const { rates } = new Simulation({ ...THREE, gate: { fps: 5, priority: 1 } }).run(180, 14).last(120);
  expect(rates.gate).toBeCloseTo(5, 0);
  expect(total(rates)).toBeGreaterThan(0.7 * 14);
  expect((rates.a ?? 0) - (rates.c ?? 0)).toBeCloseTo(0, 0);
});

test('a clock that is set back does not change the measured rates', async () => {
  let hour = 500_000;
  const clock = vi.spyOn(Date, 'now').mockImplementation(() => 3_600_000 * hour--);
  const done = async () => {};
  const admin = {
    connect: done,
    disconnect: done,
    fetchTopicOffsets: async () => [],
    fetchOffsets: async () => [],
  };
  const update = vi.spyOn(Thinning.prototype, 'update');
  const stopping = new AbortController();
  const watching = watchPipeline({ admin: () => admin } as unknown as Kafka, new Thinning(DEFAULTS), {
    config: readConfig([...STAGE_VARIABLES, 'MAX_LATENCY_SECONDS'], {}),
    log: { info() {}, warn() {} },
    signal: stopping.signal,
  });
  while (update.mock.calls.length < 2) await sleep(10);
  stopping.abort();
  await watching;
  const [first = 0, second = 0] = update.mock.calls.map(([{ at }]) => at);
  expect(second).toBeGreaterThan(first);
  for (const spy of [clock, update]) spy.mockRestore();
});

import { EventEmitter, once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { type EncodedRecord, encodeFrame, type Frame } from '@video-pipeline/frame';
import { TooLargeError } from '@video-pipeline/kafka';
import { startSpan, traceOf } from '@video-pipeline/telemetry';
import { dropOverflow, FrameBuffer } from './frame-buffer.ts';

/**
 * Sends records in order; resolves once the brokers have all of them (acks=all).
 * @throws TooLargeError for records over the limit, after all others are sent
 */
export type Send = (records: EncodedRecord[]) => Promise<void>;

interface PublisherEvents {
  /** Kafka acknowledged the frames; the send took `milliseconds`. */
  published(frames: Frame[], milliseconds: number): void;
  /** The frames were dropped: Kafka did not accept them in time, or refused them. */
  dropped(frames: Frame[]): void;
  failed(error: Error): void;
}

export interface PublisherOptions {
  /** How long a frame of a live stream is kept while Kafka is away, milliseconds. */
  bufferMs: number;
  /** Most JPEG bytes of all live streams together that wait, without the sends in progress. */
  bufferBytes: number;
  /**
   * Lane of a stream, its partition for example. The streams of a lane share sends, one at a time. Lanes do not wait
   * for each other. By default there is one lane. A stream's lane may change: its frames stay in order.
   */
  laneOf?(streamId: string): number;
  /** Most frames of one stream that wait before {@link Publisher.put} blocks. */
  maxWaiting?: number;
  /** Wait before the retry of a failed send, milliseconds. */
  retryMs?: number;
}

/** Most bytes of one send. kafkajs makes one record batch of it, and brokers accept 1 MiB by default. */
const MAX_BATCH_BYTES = 900_000;

/** Sends the frames of all streams, each stream in order, one send at a time in each lane. Its memory is bounded. */
export class Publisher {
  readonly #send: Send;
  readonly #events: PublisherEvents;
  readonly #options: Required<PublisherOptions>;
  readonly #buffers = new Map<string, FrameBuffer>();
  readonly #changes = new EventEmitter().setMaxListeners(0);
  /** The send in progress of each lane. */
  readonly #inFlight = new Map<number, { frames: Frame[]; done: Promise<void> }>();
  /** Streams with frames in a send in progress. */
  readonly #busy = new Set<string>();
  #givenUp = false;

  constructor(send: Send, events: PublisherEvents, options: PublisherOptions) {
    this.#send = send;
    this.#events = events;
    this.#options = { maxWaiting: 50, retryMs: 1000, laneOf: () => 0, ...options };
  }

  /**
   * Queues a frame of a live stream. While Kafka is away, the oldest frames are dropped.
   * @param at when it came, by a clock that is never set, milliseconds
   */
  offer(frame: Frame, at = performance.now()): void {
    const { bufferMs, bufferBytes } = this.#options;
    const tooOld = this.#bufferOf(frame.streamId).push(frame, bufferMs, at);
    const dropped = [...tooOld, ...dropOverflow(this.#buffers.values(), bufferBytes)];
    if (dropped.length > 0) this.#events.dropped(dropped);
    this.#sendNext(this.#options.laneOf(frame.streamId));
  }

  /** Queues a frame of a stream that can wait; drops none. Resolves once the next may be queued, or `signal` aborts. */
  async put(frame: Frame, signal: AbortSignal): Promise<void> {
    const buffer = this.#bufferOf(frame.streamId);
    buffer.push(frame);
    this.#sendNext(this.#options.laneOf(frame.streamId));
    while (buffer.length >= this.#options.maxWaiting && !signal.aborted) {
      await once(this.#changes, 'sent', { signal }).catch(() => {});
    }
  }

  /** JPEG bytes that wait, without the sends in progress. */
  get waitingBytes(): number {
    return [...this.#buffers.values()].reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /**
   * Waits until all queued frames are acknowledged.
   * @param deadlineMs time after which the remaining frames are dropped, milliseconds
   */
  async flush(deadlineMs?: number): Promise<void> {
    const timer = new AbortController();
    const late = deadlineMs === undefined ? undefined : delay(deadlineMs, 'late', timer).catch(() => {});
    while (this.#inFlight.size > 0) {
      const sent = Promise.all(Array.from(this.#inFlight.values(), ({ done }) => done));
      if ((await Promise.race(late ? [sent, late] : [sent])) !== 'late') continue;
      this.#abandon();
      break;
    }
    timer.abort();
  }

  #abandon(): void {
    this.#givenUp = true;
    const inFlight = [...this.#inFlight.values()].flatMap(({ frames }) => frames);
    const remaining = [...inFlight, ...[...this.#buffers.values()].flatMap((buffer) => buffer.takeAll())];
    if (remaining.length > 0) this.#events.dropped(remaining);
  }

  #bufferOf(streamId: string): FrameBuffer {
    const buffer = this.#buffers.get(streamId) ?? new FrameBuffer();
    this.#buffers.set(streamId, buffer);
    return buffer;
  }

  /** Sends the waiting frames of a lane, unless a send of this lane is in progress. */
  #sendNext(lane: number): void {
    if (this.#givenUp || this.#inFlight.has(lane)) return;
    const frames = this.#nextBatch(lane);
    if (frames.length === 0) return;
    for (const { streamId } of frames) this.#busy.add(streamId);
    const done = this.#sendBatch(frames).then(() => {
      this.#inFlight.delete(lane);
      for (const { streamId } of frames) this.#busy.delete(streamId);
      // All lanes with waiting frames: a stream may have changed its lane meanwhile.
      const waiting = [...this.#buffers].filter(([, { length }]) => length > 0);
      for (const next of new Set(waiting.map(([streamId]) => this.#options.laneOf(streamId))))
        this.#sendNext(next);
      this.#changes.emit('sent');
    });
    this.#inFlight.set(lane, { frames, done });
  }

  async #sendBatch(frames: Frame[]): Promise<void> {
    const spans = frames.map(({ capturedAt: at, streamId: stream_id, frameNumber: frame_number }) =>
      startSpan('ingest', 'ingest.frame', { at, attributes: { stream_id, frame_number } }),
    );
    const records = frames.map((frame, index) => encodeFrame({ ...frame, ...traceOf(spans[index]) }));
    await this.#sendRecords(frames, records);
    for (const span of spans) span?.end();
  }

  // A batch is retried without limit: Kafka may have stored it already, so it can't be counted as dropped.
  async #sendRecords(frames: Frame[], records: EncodedRecord[]): Promise<void> {
    while (!this.#givenUp) {
      const started = performance.now();
      try {
        await this.#send(records);
        if (!this.#givenUp) this.#events.published(frames, performance.now() - started);
        return;
      } catch (error) {
        this.#events.failed(error instanceof Error ? error : new Error(String(error)));
        if (error instanceof TooLargeError) {
          if (!this.#givenUp)
            this.#reportRefused(frames, records, error.records, performance.now() - started);
          return;
        }
        await delay(this.#options.retryMs);
      }
    }
  }

  /** Reports a send in which only the records `tooLarge` were refused. */
  #reportRefused(
    frames: Frame[],
    records: EncodedRecord[],
    tooLarge: readonly object[],
    milliseconds: number,
  ): void {
    const isRefused = (_: Frame, index: number) => tooLarge.includes(records[index] as EncodedRecord);
    this.#events.dropped(frames.filter(isRefused));
    this.#events.published(
      frames.filter((frame, index) => !isRefused(frame, index)),
      milliseconds,
    );
  }

  /** The oldest frames of a lane, taken from each stream in turn. */
  #nextBatch(lane: number): Frame[] {
    const buffers = [...this.#buffers].filter(
      ([streamId, { length }]) =>
        length > 0 && !this.#busy.has(streamId) && this.#options.laneOf(streamId) === lane,
    );
    const batch: Frame[] = [];
    let bytes = 0;
    for (let found = true; found; ) {
      found = false;
      for (const [, buffer] of buffers) {
        const size = buffer.oldest?.jpeg.length ?? Number.POSITIVE_INFINITY;
        if (batch.length > 0 && bytes + size > MAX_BATCH_BYTES) continue;
        const frame = buffer.shift();
        if (!frame) continue;
        batch.push(frame);
        bytes += frame.jpeg.length;
        found = true;
      }
    }
    return batch;
  }
}

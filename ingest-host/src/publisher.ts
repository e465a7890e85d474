import { EventEmitter, once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { type EncodedRecord, encodeFrame, type Frame } from '@video-pipeline/frame';
import { dropOverflow, FrameBuffer } from './frame-buffer.ts';

/** Sends records in order and returns once the brokers have them all (acks=all). */
export type Send = (records: EncodedRecord[]) => Promise<void>;

export interface PublisherEvents {
  /** Kafka acknowledged the frames; the send took `milliseconds`. */
  published(frames: Frame[], milliseconds: number): void;
  /** The frames were let go: Kafka did not take them in time. */
  dropped(frames: Frame[]): void;
  failed(error: Error): void;
}

export interface PublisherOptions {
  /** Newest span of each stream kept while Kafka does not take it, milliseconds. */
  bufferMs: number;
  /** JPEG bytes that may wait of all live streams together, besides the send under way. */
  bufferBytes: number;
  /** Frames of one stream that may wait before {@link Publisher.put} holds its caller. */
  maxWaiting?: number;
  /** Wait before a failed send is tried again, milliseconds. */
  retryMs?: number;
}

/** Bytes of one send. kafkajs makes one record batch of it, and brokers take 1 MiB unless told otherwise. */
const MAX_BATCH_BYTES = 900_000;

/** Sends frames of all streams, one send at a time, each stream in its order; bounded in memory. */
export class Publisher {
  readonly #send: Send;
  readonly #events: PublisherEvents;
  readonly #options: Required<PublisherOptions>;
  readonly #buffers = new Map<string, FrameBuffer>();
  readonly #changes = new EventEmitter().setMaxListeners(0);
  #inFlight: Frame[] = [];
  #running: Promise<void> | undefined;
  #givenUp = false;

  constructor(send: Send, events: PublisherEvents, options: PublisherOptions) {
    this.#send = send;
    this.#events = events;
    this.#options = { maxWaiting: 50, retryMs: 1000, ...options };
  }

  /** Queues a frame of a live stream. It may be dropped later, when it is the oldest and Kafka is away. */
  offer(frame: Frame): void {
    const tooOld = this.#bufferOf(frame.streamId).push(frame);
    const dropped = [...tooOld, ...dropOverflow(this.#buffers.values(), this.#options.bufferBytes)];
    if (dropped.length > 0) this.#events.dropped(dropped);
    this.#running ??= this.#run();
  }

  /**
   * Queues a frame of a stream that can wait, and drops nothing for it.
   * @returns when there is room for the next one, or `signal` says not to wait for it
   */
  async put(frame: Frame, signal: AbortSignal): Promise<void> {
    const buffer = this.#bufferOf(frame.streamId, Number.POSITIVE_INFINITY);
    buffer.push(frame);
    this.#running ??= this.#run();
    while (buffer.length >= this.#options.maxWaiting && !signal.aborted) {
      await once(this.#changes, 'sent', { signal }).catch(() => {});
    }
  }

  /** JPEG bytes that wait, besides the send under way. */
  get waitingBytes(): number {
    return [...this.#buffers.values()].reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /**
   * Waits until everything queued is acknowledged.
   * @param deadlineMs what is left after so many milliseconds is dropped
   */
  async flush(deadlineMs?: number): Promise<void> {
    if (deadlineMs === undefined) return this.#running;
    const timer = new AbortController();
    const late = delay(deadlineMs, 'late', timer).catch(() => {});
    if ((await Promise.race([this.#running, late])) === 'late') this.#abandon();
    timer.abort();
  }

  #abandon(): void {
    this.#givenUp = true;
    const left = [...this.#inFlight, ...this.#takeAll()];
    if (left.length > 0) this.#events.dropped(left);
  }

  #bufferOf(streamId: string, maxMs = this.#options.bufferMs): FrameBuffer {
    let buffer = this.#buffers.get(streamId);
    if (!buffer) {
      buffer = new FrameBuffer(maxMs);
      this.#buffers.set(streamId, buffer);
    }
    return buffer;
  }

  async #run(): Promise<void> {
    for (;;) {
      this.#inFlight = this.#nextBatch();
      if (this.#inFlight.length === 0) break;
      await this.#sendBatch();
      this.#changes.emit('sent');
    }
    this.#running = undefined;
  }

  // A batch once tried is tried until it is through: it may be in Kafka already, so it can't be counted as dropped.
  async #sendBatch(): Promise<void> {
    const records = this.#inFlight.map(encodeFrame);
    while (!this.#givenUp) {
      const started = performance.now();
      try {
        await this.#send(records);
        if (!this.#givenUp) this.#events.published(this.#inFlight, performance.now() - started);
        return;
      } catch (error) {
        this.#events.failed(error instanceof Error ? error : new Error(String(error)));
        await delay(this.#options.retryMs);
      }
    }
  }

  /** The oldest frames, taken from each stream in turn. */
  #nextBatch(): Frame[] {
    const batch: Frame[] = [];
    let bytes = 0;
    for (let found = true; found; ) {
      found = false;
      for (const buffer of this.#buffers.values()) {
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

  #takeAll(): Frame[] {
    return [...this.#buffers.values()].flatMap((buffer) => {
      const frames: Frame[] = [];
      for (let frame = buffer.shift(); frame; frame = buffer.shift()) frames.push(frame);
      return frames;
    });
  }
}

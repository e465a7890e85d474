import { randomUUID } from 'node:crypto';
import type { Frame } from '@video-pipeline/frame';
import { AV_LOG_QUIET } from 'node-av/constants';
import { Log } from 'node-av/lib';
import { IngestStream, type StreamContext } from './ingest-stream.ts';
import { FrameLimit } from './limit.ts';
import { Publisher, type Send } from './publisher.ts';
import { createStats, type StreamStats } from './stats.ts';
import type { StreamSpec } from './streams.ts';

export interface IngestOptions {
  /** Largest JPEG. */
  maxFrameBytes: number;
  /** Newest span of each stream kept while Kafka is away. */
  bufferSeconds: number;
  /** A camera without a picture for so long is opened again. */
  stallSeconds: number;
  /** End after so many published frames; default never. */
  maxFrames?: number;
  log: StreamContext['log'] & { error(message: string, extra: Record<string, unknown>): void };
  /** Called for each send that Kafka acknowledged. */
  onPublished?: (frames: Frame[], milliseconds: number) => void;
}

/** All streams of one ingest run and their way to Kafka. */
export class Ingest {
  /** Counters by stream id. */
  readonly stats = new Map<string, StreamStats>();
  readonly #options: IngestOptions;
  readonly #session = randomUUID();
  readonly #limit: FrameLimit;
  readonly #publisher: Publisher;
  readonly #streams = new Map<string, IngestStream>();

  /** @param send delivers records, in order, acknowledged by all replicas */
  constructor(send: Send, options: IngestOptions) {
    // FFmpeg writes URLs, passwords included, and says nothing that its error codes don't.
    Log.setLevel(AV_LOG_QUIET);
    this.#options = options;
    this.#limit = new FrameLimit(options.maxFrames ?? Number.POSITIVE_INFINITY);
    this.#publisher = new Publisher(
      send,
      {
        published: (frames, milliseconds) => this.#onPublished(frames, milliseconds),
        dropped: (frames) => this.#onDropped(frames),
        failed: (error) => options.log.error("can't publish, trying again", { error: error.message }),
      },
      { bufferMs: options.bufferSeconds * 1000 },
    );
  }

  /** Reads the streams until all have ended, MAX_FRAMES are published, or {@link Ingest.stop}; then flushes. */
  async run(specs: StreamSpec[]): Promise<void> {
    for (const spec of specs) this.#add(spec);
    const ended = Promise.all([...this.#streams.values()].map((stream) => stream.run()));
    await Promise.race([ended, this.#limit.reached]);
    await Promise.all([...this.#streams.values()].map((stream) => stream.stop()));
    await this.#publisher.flush();
  }

  /**
   * Stops reading and sends what is queued.
   * @param deadlineMs what is not acknowledged by then is dropped
   */
  async stop(deadlineMs: number): Promise<void> {
    const started = performance.now();
    await Promise.all([...this.#streams.values()].map((stream) => stream.stop()));
    await this.#publisher.flush(Math.max(0, deadlineMs - (performance.now() - started)));
  }

  #add(spec: StreamSpec): void {
    const { log, maxFrameBytes, stallSeconds } = this.#options;
    const stats = createStats();
    this.stats.set(spec.id, stats);
    const context = { publisher: this.#publisher, limit: this.#limit, session: this.#session };
    this.#streams.set(
      spec.id,
      new IngestStream(spec, { ...context, stats, log, maxFrameBytes, stallSeconds }),
    );
  }

  #onPublished(frames: Frame[], milliseconds: number): void {
    for (const frame of frames) {
      const stats = this.stats.get(frame.streamId);
      if (!stats) continue;
      stats.published += 1;
      stats.bytes += frame.jpeg.length;
    }
    this.#limit.published(frames.length);
    this.#options.onPublished?.(frames, milliseconds);
  }

  #onDropped(frames: Frame[]): void {
    for (const { streamId } of frames) {
      const stats = this.stats.get(streamId);
      if (stats) stats.dropped += 1;
    }
    this.#limit.dropped(frames.length);
  }
}

import { randomUUID } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { isDeepStrictEqual } from 'node:util';
import type { Frame } from '@video-pipeline/frame';
import { TooLargeError } from '@video-pipeline/kafka';
import type { StreamProblem } from '@video-pipeline/scene';
import { AV_LOG_QUIET } from 'node-av/constants';
import { Log } from 'node-av/lib';
import { IngestStream, type StreamContext } from './ingest-stream.ts';
import { FrameLimit } from './limit.ts';
import { Publisher, type PublisherOptions, type Send } from './publisher.ts';
import type { Restream } from './restream.ts';
import { createStats, type StreamStats } from './stats.ts';
import type { StreamSpec } from './streams.ts';
import type { Thinning } from './thinning.ts';
import { Turns } from './turns.ts';

export interface IngestOptions {
  /** Largest JPEG. */
  maxFrameBytes: number;
  /** Newest span of each stream kept while Kafka is away. */
  bufferSeconds: number;
  /** JPEG bytes kept of all live streams together while Kafka is away. */
  bufferBytes: number;
  /** A camera without a picture for so long is opened again. */
  stallSeconds: number;
  /** End after so many published frames; default never. */
  maxFrames?: number;
  /** Whether a run goes on without a stream, as one may be added; default not. */
  awaitsStreams?: boolean;
  /** See {@link PublisherOptions.laneOf}. */
  laneOf?: PublisherOptions['laneOf'];
  /** Which frames of live streams the pipeline can take in time; default all. */
  thinning?: Thinning;
  /** Where RTSP cameras are offered on; default nowhere. */
  restream?: Pick<Restream, 'relayOf' | 'forget'>;
  log: StreamContext['log'] & { error(message: string, extra: Record<string, unknown>): void };
  /** Called for each send that Kafka acknowledged. */
  onPublished?: (frames: Frame[], milliseconds: number) => void;
}

/** All streams of one ingest run and their way to Kafka. */
export class Ingest {
  /** Counters by stream id. */
  readonly stats = new Map<string, StreamStats>();
  readonly #options: IngestOptions;
  /** Names the frames of this run. */
  readonly session = randomUUID();
  readonly #limit: FrameLimit;
  readonly #publisher: Publisher;
  readonly #streams = new Map<string, IngestStream>();
  readonly #fileTurns = new Turns(availableParallelism() + 2);
  #reloading: Promise<void> = Promise.resolve();
  /** Resolves with the next reload, and when all is to stop. */
  #changed = Promise.withResolvers<void>();

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
        failed: (error) => {
          const isOver = error instanceof TooLargeError;
          options.log.error(isOver ? "can't publish" : "can't publish, trying again", {
            error: error.message,
          });
        },
      },
      {
        bufferMs: options.bufferSeconds * 1000,
        bufferBytes: options.bufferBytes,
        ...(options.laneOf && { laneOf: options.laneOf }),
      },
    );
  }

  /** JPEG bytes that wait for Kafka, besides the sends under way. */
  get waitingBytes(): number {
    return this.#publisher.waitingBytes;
  }

  /**
   * Reads the streams until all have ended, MAX_FRAMES are published, or {@link Ingest.stop}; then flushes.
   */
  async run(specs: StreamSpec[], problems: StreamProblem[] = []): Promise<void> {
    await this.reload(specs, problems);
    await Promise.race([this.#allEnded(), this.#limit.reached]);
    await this.#stopStreams();
    await this.#publisher.flush();
  }

  /**
   * Brings the streams to what is wanted: those that did not change go on untouched, with their numbers. One that can't be
   * read any more goes on as it was; one that never could has failed, and says why.
   */
  reload(specs: StreamSpec[], problems: StreamProblem[] = []): Promise<void> {
    this.#reloading = this.#reloading.then(() => this.#bringTo(specs, problems));
    return this.#reloading;
  }

  async #bringTo(specs: StreamSpec[], problems: StreamProblem[]): Promise<void> {
    const wanted = new Map(specs.map((spec) => [spec.id, spec]));
    for (const { id, text } of problems) {
      this.#options.log.error("a stream can't be read", { ...(id ? { stream: id } : {}), error: text });
      const former = id === undefined ? undefined : this.#streams.get(id)?.spec;
      if (former && !wanted.has(former.id)) wanted.set(former.id, former);
    }
    const stopping: Promise<void>[] = [];
    for (const [id, stream] of this.#streams) {
      if (isDeepStrictEqual(wanted.get(id), stream.spec)) continue;
      this.#streams.delete(id);
      stopping.push(stream.stop());
    }
    await Promise.all(stopping);
    for (const id of this.stats.keys()) {
      if (wanted.has(id)) continue;
      this.stats.delete(id);
      this.#options.thinning?.forget(id);
      this.#options.restream?.forget(id);
    }
    for (const spec of specs) if (!this.#streams.has(spec.id)) this.#add(spec);
    for (const { id, text } of problems) {
      if (id === undefined || wanted.has(id)) continue;
      this.stats.set(id, { ...createStats(), state: 'failed', lastError: text });
    }
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  // A reload adds streams while others are waited for.
  async #allEnded(): Promise<void> {
    for (let before: IngestStream[] = []; ; ) {
      const streams = [...this.#streams.values()];
      if (streams.length === 0 && this.#options.awaitsStreams) await this.#changed.promise;
      else if (streams.every((stream) => before.includes(stream))) return;
      await Promise.all(streams.map((stream) => stream.run()));
      await this.#reloading;
      before = streams;
    }
  }

  async #stopStreams(): Promise<void> {
    await Promise.all([...this.#streams.values()].map((stream) => stream.stop()));
  }

  /**
   * Stops reading and sends what is queued.
   * @param deadlineMs what is not acknowledged by then is dropped
   */
  async stop(deadlineMs: number): Promise<void> {
    const started = performance.now();
    await this.#stopStreams();
    await this.#publisher.flush(Math.max(0, deadlineMs - (performance.now() - started)));
  }

  #add(spec: StreamSpec): void {
    const { log, maxFrameBytes, stallSeconds } = this.#options;
    const stats = this.stats.get(spec.id) ?? createStats();
    this.stats.set(spec.id, stats);
    const context = { publisher: this.#publisher, limit: this.#limit, session: this.session };
    const thinning = this.#options.thinning?.gate(spec.id, spec);
    const settings = { stats, log, maxFrameBytes, stallSeconds, thinning, fileTurns: this.#fileTurns };
    const relay = this.#options.restream?.relayOf(spec);
    const stream = new IngestStream(spec, { ...context, ...settings, ...(relay ? { relay } : {}) });
    this.#streams.set(spec.id, stream);
    void stream.run();
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

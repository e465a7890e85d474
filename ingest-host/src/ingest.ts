import { randomUUID } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { isDeepStrictEqual } from 'node:util';
import type { Frame } from '@video-pipeline/frame';
import { TooLargeError } from '@video-pipeline/kafka';
import type { StreamProblem } from '@video-pipeline/scene';
import { AV_LOG_QUIET } from 'node-av/constants';
import { Log } from 'node-av/lib';
import { type FrameLimit, frameLimit } from './frame-limit.ts';
import { IngestStream, type StreamContext } from './ingest-stream.ts';
import { Publisher, type PublisherOptions, type Send } from './publisher.ts';
import type { Restream } from './restream.ts';
import { Semaphore } from './semaphore.ts';
import { createStats, type StreamStats } from './stats.ts';
import type { StreamSpec } from './streams.ts';
import type { Thinning } from './thinning.ts';

export interface IngestOptions {
  maxFrameBytes: number;
  /** Span of the newest frames of each stream that is kept while Kafka is away, seconds. */
  bufferSeconds: number;
  /** Most JPEG bytes of all live streams together that are kept while Kafka is away. */
  bufferBytes: number;
  /** A camera without a packet for this long is opened again, seconds. */
  stallSeconds: number;
  /** Number of published frames after which the run ends; default: no limit. */
  maxFrames?: number;
  /** Whether a run goes on without streams, because a reload may add some; default: no. */
  awaitsStreams?: boolean;
  /** See {@link PublisherOptions.laneOf}. */
  laneOf?: PublisherOptions['laneOf'];
  /** Limits the frames of live streams to keep the latency; default: no limit. */
  thinning?: Thinning;
  /** RTSP server that offers the cameras to other clients; default: none. */
  restream?: Pick<Restream, 'relayOf' | 'forget'>;
  log: StreamContext['log'] & { error(message: string, extra: Record<string, unknown>): void };
  onPublished?: (frames: Frame[], milliseconds: number) => void;
}

/** All streams of one ingest run and their way to Kafka. */
export class Ingest {
  /** Counters of the listed streams, by id. */
  readonly stats = new Map<string, StreamStats>();
  /** Also those of removed streams: one that comes back counts on, so that no frame number repeats in a run. */
  readonly #counters = new Map<string, StreamStats>();
  readonly #options: IngestOptions;
  /** Id of this run; part of each frame. */
  readonly session = randomUUID();
  readonly #limit: FrameLimit;
  readonly #publisher: Publisher;
  readonly #streams = new Map<string, IngestStream>();
  readonly #fileSemaphore = new Semaphore(availableParallelism() + 2);
  #reloading: Promise<void> = Promise.resolve();
  /** Resolves with the next reload. */
  #changed = Promise.withResolvers<void>();

  /** @param send delivers records in order; resolves once all replicas have acknowledged them */
  constructor(send: Send, options: IngestOptions) {
    // FFmpeg's log would show URLs with their passwords. Its error codes say the same as its messages.
    Log.setLevel(AV_LOG_QUIET);
    this.#options = options;
    this.#limit = frameLimit(options.maxFrames ?? Number.POSITIVE_INFINITY);
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

  get waitingBytes(): number {
    return this.#publisher.waitingBytes;
  }

  /** Reads until all streams have ended, MAX_FRAMES are published, or {@link stop} is called. Then it flushes. */
  async run(specs: StreamSpec[], problems: StreamProblem[] = []): Promise<void> {
    await this.reload(specs, problems);
    await Promise.race([this.#allEnded(), this.#limit.reached]);
    await this.#stopStreams();
    await this.#publisher.flush();
  }

  /**
   * Applies a new list of streams. Streams that did not change go on without interruption. A stream whose entry became
   * invalid goes on with its former settings. A new stream with an invalid entry has the state `failed` and an error.
   */
  reload(specs: StreamSpec[], problems: StreamProblem[] = []): Promise<void> {
    this.#reloading = this.#reloading.then(() => this.#apply(specs, problems));
    return this.#reloading;
  }

  async #apply(specs: StreamSpec[], problems: StreamProblem[]): Promise<void> {
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
      Object.assign(this.#statsOf(id), { state: 'failed', lastError: text });
    }
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  // Loops, because a reload may add streams during the wait.
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
   * Stops reading and sends the queued frames.
   * @param deadlineMs frames that are not acknowledged after this time are dropped
   */
  async stop(deadlineMs: number): Promise<void> {
    const started = performance.now();
    await this.#stopStreams();
    await this.#publisher.flush(Math.max(0, deadlineMs - (performance.now() - started)));
  }

  #add(spec: StreamSpec): void {
    const { log, maxFrameBytes, stallSeconds } = this.#options;
    const stats = this.#statsOf(spec.id);
    const context = { publisher: this.#publisher, limit: this.#limit, session: this.session };
    const thinning = this.#options.thinning?.gate(spec.id, spec);
    const settings = {
      stats,
      log,
      maxFrameBytes,
      stallSeconds,
      thinning,
      fileSemaphore: this.#fileSemaphore,
    };
    const relay = this.#options.restream?.relayOf(spec);
    const stream = new IngestStream(spec, { ...context, ...settings, relay });
    this.#streams.set(spec.id, stream);
    void stream.run();
  }

  #statsOf(id: string): StreamStats {
    const stats = this.#counters.get(id) ?? createStats();
    this.#counters.set(id, stats);
    this.stats.set(id, stats);
    return stats;
  }

  #onPublished(frames: Frame[], milliseconds: number): void {
    for (const frame of frames) {
      const stats = this.#counters.get(frame.streamId);
      if (!stats) continue;
      stats.published += 1;
      stats.bytes += frame.jpeg.length;
    }
    this.#limit.published(frames.length);
    this.#options.onPublished?.(frames, milliseconds);
  }

  #onDropped(frames: Frame[]): void {
    for (const { streamId } of frames) {
      const stats = this.#counters.get(streamId);
      if (stats) stats.dropped += 1;
    }
    this.#limit.dropped(frames.length);
  }
}

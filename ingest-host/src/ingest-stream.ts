import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { Frame } from '@video-pipeline/frame';
import { redact } from '@video-pipeline/telemetry';
import { activeHours } from './active-hours.ts';
import { CaptureClock } from './clock.ts';
import { Failover } from './failover.ts';
import type { FrameLimit } from './frame-limit.ts';
import { JpegEncoder } from './jpeg.ts';
import { type MotionGate, motionGate } from './motion-gate.ts';
import { JpegError } from './picture-filter.ts';
import { watchPictures } from './picture-watch.ts';
import type { Publisher } from './publisher.ts';
import { Sampler } from './sampler.ts';
import type { Semaphore } from './semaphore.ts';
import { fileOf } from './source/file.ts';
import { openSource } from './source/open.ts';
import type { Picture, Source, SourceOptions } from './source/source.ts';
import { SourceError } from './source/source-error.ts';
import type { StreamStats } from './stats.ts';
import type { StreamSpec } from './streams.ts';
import type { ThinningGate } from './thinning.ts';
import { startWatchdog, type Watchdog } from './watchdog.ts';

export interface StreamContext {
  maxFrameBytes: number;
  /** A source without a packet for this long is opened again, seconds. */
  stallSeconds: number;
  publisher: Pick<Publisher, 'offer' | 'put'>;
  limit: FrameLimit;
  stats: StreamStats;
  log: {
    info(message: string, extra: Record<string, unknown>): void;
    warn(message: string, extra: Record<string, unknown>): void;
  };
  session: string;
  /** Decides which frames of a live source are published, so that the pipeline keeps its latency. */
  thinning: ThinningGate | undefined;
  /** Limits how many files are read at once: each uses as much memory and CPU as it can. */
  fileSemaphore: Semaphore;
  relay?: SourceOptions['relay'];
}

/** How often the clock is checked outside a stream's active hours, milliseconds. */
const INACTIVE_MS = 1_000;

type Outcome = SourceError | 'ended' | 'inactive' | 'first is back';

const EMPTY = 'it ended without a picture';

/** Reads one stream until `stop` or its file's end: decode, sample, encode, publish. Reopens the source on failure. */
export class IngestStream {
  readonly spec: StreamSpec;
  readonly #context: StreamContext;
  readonly #abort = new AbortController();
  readonly #aborted = once(this.#abort.signal, 'abort');
  readonly #clock = new CaptureClock();
  readonly #isActive: (at: number) => boolean;
  readonly #failover: Failover;
  /** URL to which the camera has redirected the stream: used for the next connection only. */
  #location: string | undefined;
  /** Pictures sampled from the file so far. After inactive hours, or once a missing file is back, they are skipped. */
  #taken = 0;
  #finished: Promise<void> | undefined;

  constructor(spec: StreamSpec, context: StreamContext) {
    this.spec = spec;
    this.#context = context;
    this.#isActive = spec.activeHours ? activeHours(spec.activeHours) : () => true;
    this.#failover = new Failover(spec.url, spec.fallback, spec.fallbackSeconds);
  }

  /** Resolves once the stream is stopped or ended. It never throws because of the camera. */
  run(): Promise<void> {
    this.#finished ??= this.#run();
    return this.#finished;
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#finished;
  }

  async #run(): Promise<void> {
    const { stats, log } = this.#context;
    while (!this.#abort.signal.aborted) {
      const before = stats.decoded;
      stats.fallback = this.#failover.fallback;
      const outcome = this.#isActive(Date.now()) ? await this.#readInTurn() : 'inactive';
      if (outcome instanceof SourceError ? outcome.isFinal : outcome !== 'inactive') this.#taken = 0;
      if (this.#abort.signal.aborted || (outcome === 'ended' && !stats.fallback)) break;
      if (outcome === 'inactive') {
        stats.state = 'inactive';
        await this.#sleep(INACTIVE_MS);
        continue;
      }
      if (outcome === 'first is back') {
        log.info('the first URL gives pictures again', { stream: this.spec.id });
        stats.reconnects += 1;
        continue;
      }
      const error = outcome === 'ended' ? new SourceError('the fallback ended') : outcome;
      if (error.isFinal && !this.spec.fallback) {
        this.#report('failed', error.message);
        return;
      }
      const { url } = this.#failover;
      const wait = this.#failover.next(outcome !== 'ended' && stats.decoded > before, error.permanent);
      this.#location = this.#failover.url === url ? error.location : undefined;
      if (this.#failover.url !== url) this.#taken = 0;
      stats.state = 'waiting';
      stats.lastError = error.message;
      stats.reconnects += 1;
      const { fallback } = this.#failover;
      log.warn('stream broke off', { stream: this.spec.id, error: error.message, retryMs: wait, fallback });
      await this.#sleep(wait);
    }
    stats.state = 'ended';
  }

  /** How long a source may be without a packet. */
  get #stallSeconds(): number {
    return (this.spec.stallSeconds ?? this.#context.stallSeconds) + (this.spec.period ?? 0);
  }

  async #sleep(milliseconds: number): Promise<void> {
    await delay(milliseconds, undefined, { signal: this.#abort.signal }).catch(() => {});
  }

  async #readInTurn(): Promise<Outcome> {
    if (fileOf(this.#failover.url)?.loop !== false) return await this.#readOnce();
    const slot = this.#context.fileSemaphore.acquire();
    this.#context.stats.state = 'waiting';
    await Promise.race([slot, this.#aborted]);
    try {
      return this.#abort.signal.aborted ? 'ended' : await this.#readOnce();
    } finally {
      void slot.then((release) => release());
    }
  }

  /** @returns why reading ended; an error when the source failed */
  async #readOnce(): Promise<Outcome> {
    const { stats, maxFrameBytes } = this.#context;
    const { spec } = this;
    const stallSeconds = this.#stallSeconds;
    const stall = startWatchdog(stallSeconds * 1000);
    const back = new AbortController();
    const signal = AbortSignal.any([this.#abort.signal, stall.signal, back.signal]);
    using encoder = new JpegEncoder(maxFrameBytes, spec.quality, spec);
    using gate = spec.motion && motionGate(spec.motion);
    const endWatch = this.#failover.watch(
      (url, signal) => this.#open(url, stallSeconds, signal),
      () => back.abort(),
    );
    let source: Source | undefined;
    try {
      stats.state = 'connecting';
      const more = { damage: stats.damaged, relay: this.#context.relay, location: this.#location };
      this.#location = undefined;
      source = await this.#open(this.#failover.url, stallSeconds, signal, more);
      stats.decoder = source.device;
      const start = source.live ? undefined : (spec.fileStart ?? source.recordedAt ?? Date.now());
      if (this.#taken === 0) this.#clock.restart(start, source.maxDelayMs);
      const frames = await this.#readPictures(source, encoder, gate, stall);
      if (!this.#isActive(Date.now())) return 'inactive';
      if (source.live) return new SourceError(frames > 0 ? 'the camera ended the stream' : EMPTY);
      return frames > 0 ? 'ended' : new SourceError(EMPTY, true, true);
    } catch (error) {
      if (back.signal.aborted) return 'first is back';
      const problem = stall.signal.aborted ? new SourceError(`no picture for ${stallSeconds} s`) : error;
      // No retry of a file: the pictures before the error would be published twice.
      if (problem instanceof SourceError)
        return source?.live === false ? new SourceError(problem.message, true, true) : problem;
      return new SourceError(redact(problem instanceof Error ? problem.message : String(problem)));
    } finally {
      endWatch();
      stall.stop();
      await source?.close();
    }
  }

  async #open(
    url: string,
    timeoutSeconds: number,
    signal: AbortSignal,
    more: Pick<SourceOptions, 'damage' | 'relay' | 'location'> = {},
  ): Promise<Source> {
    const source = await openSource(url, { ...this.spec, timeoutSeconds, ...more }, signal);
    signal.addEventListener('abort', () => source.interrupt());
    return source;
  }

  #report(how: 'waits' | 'failed', error: string): void {
    const { stats, log } = this.#context;
    stats.state = how === 'waits' ? 'waiting' : how;
    stats.lastError = error;
    log.warn(`stream ${how}`, { stream: this.spec.id, error });
  }

  /** @returns how many pictures were sampled, without those that could not be encoded */
  async #readPictures(
    source: Source,
    encoder: JpegEncoder,
    gate: MotionGate | undefined,
    stall: Watchdog,
  ): Promise<number> {
    const { stats, limit, publisher, log } = this.#context;
    const pictureWatch = watchPictures(this.#stallSeconds, (reason) => this.#report('waits', reason));
    const sampler = new Sampler(this.spec.frameRate);
    let [sampled, unfit] = [0, 0];
    const mayWant = (time: number) => {
      stall.feed();
      pictureWatch.packet(source.awaited);
      return sampler.mayKeep(time);
    };
    for await (const picture of source.pictures(mayWant)) {
      stall.feed();
      pictureWatch.picture(picture.time);
      stats.decoded += 1;
      stats.decodeSeconds += picture.decodeMs / 1000;
      if (this.#abort.signal.aborted) break;
      if (!sampler.keep(picture.time)) continue;
      if (!this.#isActive(Date.now())) break;
      sampled += 1;
      if (sampled <= this.#taken) continue;
      if (!source.live) this.#taken = sampled;
      // Before the motion gate: it compares later pictures with the last one that passed, which must be published.
      if (source.live && !this.#fits()) continue;
      if (gate && !(await this.#moves(gate, picture))) continue;
      if (!limit.take()) {
        if (source.live) continue;
        break;
      }
      const { width, height } = picture.frame;
      if (stats.state !== 'flowing')
        log.info('stream flows', { stream: this.spec.id, width, height, decoder: stats.decoder });
      stats.state = 'flowing';
      const frame = await this.#capture(picture, encoder);
      if (!frame) {
        unfit += 1;
        limit.dropped(1);
      } else if (source.live) publisher.offer(frame);
      else {
        // The wait for a full pipeline must not count as a stall of the file.
        stall.stop();
        await publisher.put(frame, this.#abort.signal);
        stall.feed();
      }
    }
    return sampled - unfit;
  }

  #fits(): boolean {
    const { stats, thinning } = this.#context;
    const fits = thinning?.passes() ?? true;
    stats.thinnedTo = thinning?.limit;
    if (fits) return true;
    stats.thinned += 1;
    stats.lastFrameAt = Date.now();
    return false;
  }

  async #moves(gate: MotionGate, picture: Picture): Promise<boolean> {
    const { stats } = this.#context;
    try {
      if (await gate.passes(picture.frame, picture.time)) return true;
    } catch (error) {
      // The encoder then reports the error.
      if (error instanceof JpegError) return true;
      throw error;
    }
    stats.still += 1;
    stats.lastFrameAt = Date.now();
    return false;
  }

  /** Numbers the picture and encodes a frame. One that can't be encoded is counted, and leaves a gap in the numbers. */
  async #capture(picture: Picture, encoder: JpegEncoder): Promise<Frame | undefined> {
    const { stats, log, session } = this.#context;
    const arrival = Date.now();
    if (picture.wallClock !== undefined && this.spec.fileStart === undefined)
      this.#clock.report(picture.time * 1000, picture.wallClock);
    const capturedAt = this.#clock.capturedAt(picture.time * 1000, arrival);
    const frameNumber = stats.captured++;
    stats.lastFrameAt = arrival;
    try {
      const jpeg = await encoder.encode(picture.frame);
      return { streamId: this.spec.id, frameNumber, session, capturedAt, ...jpeg };
    } catch (error) {
      if (!(error instanceof JpegError)) throw error;
      stats.dropped += 1;
      stats.unfit += 1;
      log.warn('picture left out', { stream: this.spec.id, frameNumber, error: error.message });
      return undefined;
    }
  }
}

import { isPossibleTime } from '@video-pipeline/frame';
import {
  AV_CODEC_ID_NONE,
  AVDISCARD_ALL,
  AVFMT_NOTIMESTAMPS,
  AVFMT_TS_DISCONT,
  AVMEDIA_TYPE_VIDEO,
  AVSEEK_FLAG_BACKWARD,
} from 'node-av/constants';
import { Dictionary, FFmpegError, FormatContext, Packet, type Stream } from 'node-av/lib';
import { RawFrame } from '../raw-frame.ts';
import { VideoDecoder } from './decoder.ts';
import { recordedTimes, reportedOffset, stampOf } from './packet-times.ts';
import type { MayWant, Picture, Source, SourceOptions } from './source.ts';
import { check, SourceError } from './source-error.ts';
import { type VideoFormat, videoFormat } from './video-format.ts';

/** What FFmpeg opens, and what is known before. */
export interface Input extends Pick<SourceOptions, 'track' | 'damage' | 'hwaccel'> {
  url: string;
  /** Options of FFmpeg's demuxer and protocol. FFmpeg ignores unknown ones. */
  options: Record<string, string>;
  /** Whether the video comes over a network: not a file. Then only {@link checkDecoder}'s decoders are used. */
  fromNetwork: boolean;
  /** Time of capture of the first picture, epoch milliseconds, if known better than from the container. */
  recordedAt?: number | undefined;
  /** Proxy of FFmpeg's connections; closed with the source. */
  proxy?: InputProxy;
}

/** A proxy between FFmpeg and the network. */
export interface InputProxy {
  /** How often packets were lost. */
  readonly gaps?: number;
  /** Whether it is a recording, read until its duration is over. */
  readonly hasEnd?: boolean;
  /** Why the proxy refused or lost a connection; more precise than FFmpeg's error. */
  readonly problem: SourceError | undefined;
  /** Time of capture of the first picture, epoch milliseconds, if the protocol gives it. */
  readonly recordedAt?: number | undefined;
  /**
   * @param time presentation time of a key frame, seconds
   * @returns wall clock minus presentation time, milliseconds, if the protocol gives it
   */
  wallClockOffset?(time: number): number | undefined;
  /**
   * Whether the source is read like a file: once, as fast as the pipeline allows. Called once the source is open.
   * @param duration seconds
   * @param container FFmpeg's demuxer
   */
  isFinite(duration: number, container: string): boolean;
  /** Called for each packet that FFmpeg has read: limits count from the last one. */
  onPacket(): void;
  close(): void;
}

/** FFmpeg's demuxer of JPEGs pushed over HTTP. They have no times: the demuxer assumes 25 a second. */
const UNTIMED = 'mpjpeg';
/** A longer step in the times of MPEG-TS, MPEG-PS and HLS is a break, as in FFmpeg's `dts_delta_threshold`; seconds. */
const MAX_STEP = 10;
/** Frames a second of an elementary stream without a stated rate. */
const USUAL_RATE = 25;

/** A source that FFmpeg demuxes. Threads of libuv's pool read packets and decode pictures. */
export class FFmpegSource implements Source {
  readonly #input = new FormatContext();
  readonly #packet = new Packet();
  readonly #frame = new RawFrame();
  readonly #from: Input;
  /** Whether the current packet was read before the video track was known. */
  #held = false;
  #stream: Stream | undefined;
  #decoder: VideoDecoder | undefined;
  #closed = false;
  #live = true;
  #isUntimed = false;
  /** Seconds; not above 0 if it is unknown. */
  #duration = 0;
  /** Presentation time of the last packet, seconds. */
  #last = 0;

  private constructor(from: Input) {
    this.#from = from;
    this.#packet.alloc();
    this.#frame.alloc();
  }

  /** @throws SourceError */
  static async open(from: Input, signal?: AbortSignal): Promise<FFmpegSource> {
    const source = new FFmpegSource(from);
    const interrupt = () => source.interrupt();
    signal?.addEventListener('abort', interrupt);
    try {
      if (signal?.aborted) throw new SourceError('open: interrupted');
      await source.#open();
      return source;
    } catch (error) {
      await source.close();
      throw from.proxy?.problem ?? error;
    } finally {
      signal?.removeEventListener('abort', interrupt);
    }
  }

  async #open(): Promise<void> {
    const { url, options, fromNetwork, proxy } = this.#from;
    // Without this allocation `openInput` can't be interrupted: a camera that sends a byte now and then would block its
    // thread for ever.
    this.#input.allocContext();
    check(await this.#input.openInput(url, null, Dictionary.fromObject(options)), 'open');
    const stream = await this.#chooseStream();
    for (const other of this.#input.streams) if (other.index !== stream.index) other.discard = AVDISCARD_ALL;
    this.#stream = stream;
    const container = this.#input.iformat?.name ?? '';
    this.#duration = Number(this.#input.duration) / 1e6;
    this.#live = fromNetwork && !proxy?.isFinite(this.#duration, container);
    this.#isUntimed = container === UNTIMED || hasFlag(this.#input, AVFMT_NOTIMESTAMPS);
    this.#decoder = await VideoDecoder.open(stream, {
      fromNetwork,
      inSegments: container.startsWith('hls'),
      damage: this.#from.damage,
      hwaccel: this.#from.hwaccel,
    });
  }

  /** The wanted or the best video track. A single track is not analysed: that would lose its first second. */
  async #chooseStream(): Promise<Stream> {
    const { track } = this.#from;
    let videos = this.#videoStreams();
    // FLV and MPEG-PS announce a track only with its first packet.
    while (videos.length === 0) {
      check(await this.#input.readFrame(this.#packet), 'open');
      videos = this.#videoStreams();
      this.#held = videos.some(({ index }) => index === this.#packet.streamIndex);
      if (!this.#held) this.#packet.unref();
      this.#from.proxy?.onPacket();
    }
    if (track !== undefined) {
      const wanted = videos[track];
      if (!wanted) throw new SourceError(`track ${track}: it has ${videos.length} video tracks`, true);
      return wanted;
    }
    if (videos.length > 1 && !this.#held) {
      check(await this.#input.findStreamInfo(), 'open');
      const best = this.#input.findBestStream(AVMEDIA_TYPE_VIDEO);
      const chosen = this.#input.streams.find(({ index }) => index === best);
      if (chosen) return chosen;
    }
    const [first] = videos;
    if (!first) throw new SourceError('no video in it', true);
    return first;
  }

  #videoStreams(): Stream[] {
    return this.#input.streams.filter(
      ({ codecpar }) => codecpar.codecType === AVMEDIA_TYPE_VIDEO && codecpar.codecId !== AV_CODEC_ID_NONE,
    );
  }

  interrupt(): void {
    if (!this.#closed) this.#input.interrupt();
  }

  async *pictures(mayWant: MayWant = () => true): AsyncGenerator<Picture, void> {
    const [stream, decoder, { proxy }] = [this.#stream, this.#decoder, this.#from];
    if (!stream || !decoder) return;
    const seconds = stream.timeBase.num / stream.timeBase.den;
    const timeOf = this.#timing(seconds, decoder);
    const aspect = stream.sampleAspectRatio;
    let offset: number | undefined;
    // Valid from its key frame on: earlier pictures may still wait in the decoder.
    let next: { time: number; offset: number } | undefined;
    let decodeMs = 0;
    for (;;) {
      const ended = !(await this.#readPacket(stream));
      const isKey = !ended && this.#packet.isKeyframe;
      // A file has the wall clock at the start of a fragment, if at all.
      // The wall clock of a replayed recording may be the time of the replay.
      const isReported = proxy ? proxy.recordedAt === undefined : isKey;
      if (!ended && isReported) offset = reportedOffset(this.#packet, seconds) ?? offset;
      if (isKey && proxy) next = listed(proxy, stampOf(this.#packet.pts) * seconds) ?? next;
      const packetTime = this.#isUntimed ? this.#now : stampOf(this.#packet.pts) * seconds;
      if (packetTime > this.#last) this.#last = packetTime;
      const wanted = ended || mayWant(packetTime, this.#packet);
      for (const step of ended ? [null] : decoder.steps(this.#packet, proxy?.gaps)) {
        const started = performance.now();
        await decoder.decode(step, wanted);
        decodeMs += performance.now() - started;
        while (decoder.receive(this.#frame)) {
          const time = timeOf(this.#frame);
          // FFmpeg has no time for the first picture of an RTSP stream; it can't be placed among the others.
          if (Number.isNaN(time)) continue;
          // As in players, the container's aspect ratio has priority over the video's.
          if (aspect.num > 0) this.#frame.sampleAspectRatio = aspect;
          const stamp = stampOf(this.#frame.bestEffortTimestamp) * seconds;
          if (next && this.#frame.keyFrame && Math.abs(stamp - next.time) < 1e-6) offset = next.offset;
          const wallClock = offset === undefined ? {} : { wallClock: offset + stamp * 1000 };
          yield { frame: this.#frame, time, decodeMs, ...wallClock };
          decodeMs = 0;
        }
      }
      if (ended) return;
      this.#packet.unref();
    }
  }

  /** @returns false at the end */
  async #readPacket(stream: Stream): Promise<boolean> {
    if (this.#held) {
      this.#held = false;
      return true;
    }
    for (;;) {
      const code = await this.#input.readFrame(this.#packet);
      const { problem } = this.#from.proxy ?? {};
      if (code < 0 && problem) throw problem;
      if (code < 0 && (new FFmpegError(code).isEOF || this.#isComplete)) return false;
      check(code, 'read');
      this.#from.proxy?.onPacket();
      if (this.#packet.streamIndex === stream.index) return true;
      this.#packet.unref();
    }
  }

  /** @returns a function for the time of a picture, seconds; NaN for a picture without a time */
  #timing(seconds: number, decoder: VideoDecoder): (picture: RawFrame) => number {
    if (!this.#isUntimed && this.#live)
      return ({ bestEffortTimestamp }) => stampOf(bestEffortTimestamp) * seconds;
    if (this.#live) return () => this.#now;
    const { num, den } = decoder.context.framerate;
    const rate = Number(this.#from.options.framerate ?? num / den);
    const interval = 1 / (rate > 0 && rate < Number.POSITIVE_INFINITY ? rate : USUAL_RATE);
    const maxStep = hasFlag(this.#input, AVFMT_TS_DISCONT) ? MAX_STEP : Number.POSITIVE_INFINITY;
    return recordedTimes(this.#isUntimed ? 0 : seconds, interval, maxStep);
  }

  /** Whether it is a recording over RTSP that was read to its end: some servers then send nothing more. */
  get #isComplete(): boolean {
    return this.#from.proxy?.hasEnd === true && this.#duration > 0 && this.#last > this.#duration - 1;
  }

  /** Time of a coded picture of a source without times, seconds; NaN if its pictures are counted: none is left out. */
  get #now(): number {
    return this.#live ? performance.now() / 1000 : Number.NaN;
  }

  get awaited(): string {
    return this.#decoder?.awaited ?? 'a picture';
  }

  get live(): boolean {
    return this.#live && !this.#isComplete;
  }

  get recordedAt(): number | undefined {
    const known = this.#from.recordedAt ?? this.#from.proxy?.recordedAt;
    // A camera, a packager or an editor whose clock was not set gives the epoch of that clock.
    if (known !== undefined && isPossibleTime(known)) return known;
    const at = Date.parse(this.#input.metadata?.getAll().creation_time ?? '');
    return isPossibleTime(at) && at <= Date.now() ? at : undefined;
  }

  get device(): string {
    return this.#decoder?.device ?? 'software';
  }

  get format(): VideoFormat {
    if (!this.#stream || !this.#decoder) throw new SourceError('not open');
    return videoFormat(this.#input, this.#stream, this.#decoder.context);
  }

  /** Plays again from the start (files only). */
  async rewind(): Promise<void> {
    check(await this.#input.seekFrame(-1, 0n, AVSEEK_FLAG_BACKWARD), 'rewind');
    this.#decoder?.restart();
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#input.closeInput();
    this.#from.proxy?.close();
    this.#decoder?.close();
    this.#packet.free();
    this.#frame.free();
  }
}

/** @param time of a key frame, seconds */
function listed(proxy: InputProxy, time: number) {
  const offset = proxy.wallClockOffset?.(time);
  return offset === undefined ? undefined : { time, offset };
}

function hasFlag({ iformat }: FormatContext, flag: number): boolean {
  return ((iformat?.flags ?? 0) & flag) !== 0;
}

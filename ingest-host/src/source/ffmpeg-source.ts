import {
  AV_CODEC_ID_NONE,
  AV_NOPTS_VALUE,
  AV_PKT_DATA_PRFT,
  AVDISCARD_ALL,
  AVFMT_NOTIMESTAMPS,
  AVMEDIA_TYPE_VIDEO,
  AVSEEK_FLAG_BACKWARD,
} from 'node-av/constants';
import { Dictionary, FFmpegError, FormatContext, Packet, type Stream } from 'node-av/lib';
import { RawFrame } from '../raw-frame.ts';
import { type Losses, VideoDecoder } from './decoder.ts';
import type { Damage, Hwaccel, MayWant, Picture, Source } from './source.ts';
import { check, SourceError } from './source-error.ts';
import { type VideoFormat, videoFormat } from './video-format.ts';

/** What FFmpeg is to open, and what is known of it beforehand. */
export interface Input {
  url: string;
  /** Of FFmpeg's demuxer and protocol; those that it doesn't know it ignores. */
  options: Record<string, string>;
  /** Whether it comes over a network: then only {@link checkDecoder}'s decoders are used. */
  foreign: boolean;
  /** Number of the video track, from 0. */
  track?: number;
  /** When its first picture was captured, epoch milliseconds, where it is known better than by its container. */
  recordedAt?: number | undefined;
  /** Where damaged pictures are counted. */
  damage?: Damage;
  /** What decodes; default the CPU. */
  hwaccel?: Hwaccel;
  /** Told of each packet. */
  onPacket?(): void;
  /** Whether the end is the end; asked once it is open, with the length that it names, seconds, and FFmpeg's demuxer. */
  hasEnd?(duration: number, container: string): boolean;
  /** What FFmpeg's connections pass through; closed with the source. */
  gate?: Gate;
}

/** Stands between FFmpeg and the network. */
export interface Gate extends Losses {
  /** Why it refused or lost a connection: says more than FFmpeg's error. */
  readonly problem: SourceError | undefined;
  /** When its first picture was captured, epoch milliseconds, where the protocol has told. */
  readonly recordedAt?: number | undefined;
  /**
   * @param time presentation time of a key frame, seconds
   * @returns wall clock minus presentation time, milliseconds, where the protocol has told
   */
  wallClockOffset?(time: number): number | undefined;
  close(): void;
}

/** FFmpeg's demuxer of JPEGs pushed over HTTP. They carry no times, and it makes 25 a second of any number. */
const UNTIMED = 'mpjpeg';
/** Recordings are no older. */
const FIRST_YEAR = Date.UTC(2000);
/** Of an elementary stream that doesn't say. */
const USUAL_RATE = 25;

/** A source that FFmpeg demuxes: packets read and pictures decoded on threads of libuv's pool. */
export class FFmpegSource implements Source {
  readonly #input = new FormatContext();
  readonly #packet = new Packet();
  readonly #frame = new RawFrame();
  readonly #from: Input;
  /** Read before the video was known. */
  #held = false;
  #stream: Stream | undefined;
  #decoder: VideoDecoder | undefined;
  #closed = false;
  #live = true;

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
      throw from.gate?.problem ?? error;
    } finally {
      signal?.removeEventListener('abort', interrupt);
    }
  }

  async #open(): Promise<void> {
    const { url, options, hasEnd } = this.#from;
    // Allocated by FFmpeg itself, an opening couldn't be interrupted: a camera that sends a byte now and then would hold
    // its thread for ever.
    this.#input.allocContext();
    check(await this.#input.openInput(url, null, Dictionary.fromObject(options)), 'open');
    const stream = await this.#chooseStream();
    for (const other of this.#input.streams) if (other.index !== stream.index) other.discard = AVDISCARD_ALL;
    this.#stream = stream;
    const container = this.#input.iformat?.name ?? '';
    this.#live = !hasEnd?.(Number(this.#input.duration) / 1e6, container);
    this.#decoder = await VideoDecoder.open(stream, {
      foreign: this.#from.foreign,
      inSegments: container.startsWith('hls'),
      damage: this.#from.damage,
      hwaccel: this.#from.hwaccel,
    });
  }

  /** The wanted video track, or the best; a source with one is not read ahead, which would cost its first second. */
  async #chooseStream(): Promise<Stream> {
    const { track } = this.#from;
    let videos = this.#videoStreams();
    // FLV and MPEG-PS name their tracks as they come.
    while (videos.length === 0) {
      check(await this.#input.readFrame(this.#packet), 'open');
      videos = this.#videoStreams();
      this.#held = videos.some(({ index }) => index === this.#packet.streamIndex);
      if (!this.#held) this.#packet.unref();
      this.#from.onPacket?.();
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
    const [stream, decoder] = [this.#stream, this.#decoder];
    if (!stream || !decoder) return;
    const seconds = stream.timeBase.num / stream.timeBase.den;
    const timeOf = this.#timing(seconds, decoder);
    let offset: number | undefined;
    // Holds from the key frame on that it was told of: pictures before that may still wait for their turn.
    let next: { time: number; offset: number } | undefined;
    let decodeMs = 0;
    for (;;) {
      const ended = !(await this.#readPacket(stream));
      if (!ended) offset = reportedOffset(this.#packet, seconds) ?? offset;
      if (!ended && this.#packet.isKeyframe) next = this.#listed(stampOf(this.#packet.pts) * seconds) ?? next;
      const packetTime =
        this.#isUntimed && this.#live ? performance.now() / 1000 : stampOf(this.#packet.pts) * seconds;
      const wanted = ended || mayWant(packetTime, this.#packet);
      for (const step of ended ? [null] : decoder.steps(this.#packet, this.#from.gate)) {
        const started = performance.now();
        await decoder.decode(step, wanted || this.#isCounted);
        decodeMs += performance.now() - started;
        while (decoder.receive(this.#frame)) {
          const time = timeOf(this.#frame);
          // FFmpeg has no time for the first picture of an RTSP stream; it can't be placed among the others.
          if (Number.isNaN(time)) continue;
          // As players have it: what the container says counts before what the video says.
          if (stream.sampleAspectRatio.num > 0) this.#frame.sampleAspectRatio = stream.sampleAspectRatio;
          if (next && this.#frame.keyFrame && Math.abs(time - next.time) < 1e-6) offset = next.offset;
          const wallClock = offset === undefined ? {} : { wallClock: offset + time * 1000 };
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
      const { problem } = this.#from.gate ?? {};
      if (code < 0 && problem) throw problem;
      if (code < 0 && new FFmpegError(code).isEOF) return false;
      check(code, 'read');
      this.#from.onPacket?.();
      if (this.#packet.streamIndex === stream.index) return true;
      this.#packet.unref();
    }
  }

  /** @returns what gives the time of a picture, seconds; NaN for one that has none */
  #timing(seconds: number, decoder: VideoDecoder): (picture: RawFrame) => number {
    if (!this.#isUntimed && this.#live)
      return ({ bestEffortTimestamp }) => stampOf(bestEffortTimestamp) * seconds;
    if (!this.#isUntimed) {
      let end = Number.NaN;
      // AVI has no time for its last picture, if that is a B picture.
      return ({ bestEffortTimestamp, duration }) => {
        const stamp = bestEffortTimestamp === AV_NOPTS_VALUE ? end : Number(bestEffortTimestamp);
        end = stamp + Number(duration);
        return stamp * seconds;
      };
    }
    if (this.#live) return () => performance.now() / 1000;
    const { num, den } = decoder.context.framerate;
    const rate = Number(this.#from.options.framerate ?? num / den);
    const interval = 1 / (rate > 0 && rate < Number.POSITIVE_INFINITY ? rate : USUAL_RATE);
    let count = 0;
    return () => count++ * interval;
  }

  get #isUntimed(): boolean {
    const format = this.#input.iformat;
    return format?.name === UNTIMED || ((format?.flags ?? 0) & AVFMT_NOTIMESTAMPS) !== 0;
  }

  /** Whether times are counted, so that no picture may be left out. */
  get #isCounted(): boolean {
    return this.#isUntimed && !this.#live;
  }

  /** @param time of a key frame, seconds */
  #listed(time: number) {
    const offset = this.#from.gate?.wallClockOffset?.(time);
    return offset === undefined ? undefined : { time, offset };
  }

  get awaited(): string {
    return this.#decoder?.awaited ?? 'a picture';
  }

  get live(): boolean {
    return this.#live;
  }

  get recordedAt(): number | undefined {
    const known = this.#from.recordedAt ?? this.#from.gate?.recordedAt;
    if (known !== undefined) return known;
    const at = Date.parse(this.#input.metadata?.getAll().creation_time ?? '');
    // A camera or an editor whose clock was not set writes its epoch.
    return at > FIRST_YEAR && at <= Date.now() ? at : undefined;
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
    this.#from.gate?.close();
    this.#decoder?.close();
    this.#packet.free();
    this.#frame.free();
  }
}

function stampOf(stamp: bigint): number {
  return stamp === AV_NOPTS_VALUE ? Number.NaN : Number(stamp);
}

/** Wall clock minus presentation time, milliseconds, from the sender report that FFmpeg attached (AVProducerReferenceTime). */
function reportedOffset(packet: Packet, seconds: number): number | undefined {
  if (packet.pts === AV_NOPTS_VALUE) return undefined;
  const data = packet.getSideData(AV_PKT_DATA_PRFT);
  if (data === null) return undefined;
  return Number(data.readBigInt64LE(0)) / 1000 - Number(packet.pts) * seconds * 1000;
}

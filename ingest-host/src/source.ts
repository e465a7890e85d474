import {
  AV_CODEC_FLAG_OUTPUT_CORRUPT,
  AV_CODEC_ID_NONE,
  AV_NOPTS_VALUE,
  AV_OPT_TYPE_INT,
  AV_PKT_DATA_PRFT,
  AVDISCARD_ALL,
  AVDISCARD_DEFAULT,
  AVDISCARD_NONREF,
  type AVDiscard,
  AVMEDIA_TYPE_VIDEO,
  AVSEEK_FLAG_BACKWARD,
} from 'node-av/constants';
import {
  Codec,
  CodecContext,
  Dictionary,
  FFmpegError,
  FormatContext,
  Frame,
  Packet,
  type Stream,
} from 'node-av/lib';
import { check, failure, SourceError } from './source-error.ts';
import { type VideoFormat, videoFormat } from './video-format.ts';

/** A decoded picture. `frame` belongs to the source and is overwritten by the next one. */
export interface Picture {
  frame: Frame;
  /** Presentation time, seconds, on the source's own clock; arrival where it has none. */
  time: number;
  /** What the camera's RTCP sender report says of `time`, epoch milliseconds; absent without one. */
  wallClock?: number;
  /** What decoding took since the picture before, milliseconds, the wait for a thread of the pool included. */
  decodeMs: number;
}

export interface SourceOptions {
  /** How RTSP carries the packets; `auto` is TCP, and UDP with a camera that refuses it. */
  transport: Transport;
  /** Longest wait for a packet, seconds. */
  timeoutSeconds: number;
  /** Have RTSP cameras send their audio too, so that {@link VideoSource.format} knows of it; it is thrown away. */
  audio?: boolean;
}

export const TRANSPORTS = ['tcp', 'udp', 'auto'] as const;
export type Transport = (typeof TRANSPORTS)[number];

/** FFmpeg's demuxer of JPEGs pushed over HTTP. They carry no times, and it makes 25 a second of any number. */
const UNTIMED = 'mpjpeg';

/** How far ahead a source is read that doesn't say at once what it carries. FFmpeg takes 5 s, and 90 s for RTMP's FLV. */
const MAX_ANALYZE_SECONDS = 1;

/** One opened camera or file: packets read and pictures decoded by FFmpeg, on threads of libuv's pool. */
export class VideoSource {
  readonly #input = new FormatContext();
  readonly #packet = new Packet();
  readonly #frame = new Frame();
  #decoder: CodecContext | undefined;
  #closed = false;

  private constructor() {
    this.#packet.alloc();
    this.#frame.alloc();
  }

  /**
   * @param url anything FFmpeg reads: rtsp, http, srt, rtmp, a path
   * @throws SourceError
   */
  static async open(url: string, options: SourceOptions, signal?: AbortSignal): Promise<VideoSource> {
    // FFmpeg's binding does not survive it.
    if (url === '') throw new SourceError('open: no URL', true);
    const source = new VideoSource();
    const interrupt = () => source.interrupt();
    signal?.addEventListener('abort', interrupt);
    try {
      await source.#open(url, options);
      return source;
    } catch (error) {
      await source.close();
      throw error;
    } finally {
      signal?.removeEventListener('abort', interrupt);
    }
  }

  async #open(url: string, options: SourceOptions): Promise<void> {
    // Allocated by FFmpeg itself, an opening couldn't be interrupted: a camera that sends a byte now and then would hold
    // its thread for ever.
    this.#input.allocContext();
    check(await this.#input.openInput(url, null, Dictionary.fromObject(inputOptions(url, options))), 'open');
    let stream = this.#videoStream();
    // Reading ahead to learn the codec costs a camera's first second; an SDP or a file header has named it already.
    if (!stream || stream.codecpar.codecId === AV_CODEC_ID_NONE) {
      check(await this.#input.findStreamInfo(), 'open');
      stream = this.#videoStream();
    }
    if (!stream) throw new SourceError('no video in it', true);
    for (const other of this.#input.streams) if (other.index !== stream.index) other.discard = AVDISCARD_ALL;
    this.#decoder = await openDecoder(stream);
  }

  #videoStream(): Stream | undefined {
    return this.#input.streams.find((one) => one.codecpar.codecType === AVMEDIA_TYPE_VIDEO);
  }

  /** Makes a read in progress, and every later one, fail at once. May be called at any time. */
  interrupt(): void {
    if (!this.#closed) this.#input.interrupt();
  }

  /**
   * Pictures in presentation order, until the source ends.
   * @param mayWant asked for each picture before it is decoded, in decoding order, with its time, seconds, and its
   * packet; one that is not wanted is left out if no other builds on it
   * @throws SourceError when it breaks off
   */
  async *pictures(
    mayWant: (time: number, packet: Packet) => boolean = () => true,
  ): AsyncGenerator<Picture, void> {
    const stream = this.#videoStream();
    const decoder = this.#decoder;
    if (!stream || !decoder) return;
    const seconds = stream.timeBase.num / stream.timeBase.den;
    const untimed = this.#input.iformat?.name === UNTIMED;
    const timeOf = (stamp: bigint) => (untimed ? performance.now() / 1000 : Number(stamp) * seconds);
    let offset: number | undefined;
    let skipping: AVDiscard = AVDISCARD_DEFAULT;
    let decodeMs = 0;
    for (;;) {
      const code = await this.#input.readFrame(this.#packet);
      const ended = code < 0;
      if (ended && !new FFmpegError(code).isEOF) throw failure(code, 'read');
      if (!ended && this.#packet.streamIndex !== stream.index) {
        this.#packet.unref();
        continue;
      }
      if (!ended) offset = wallClockOffset(this.#packet, seconds) ?? offset;
      const skip =
        !ended && !mayWant(Number(this.#packet.pts) * seconds, this.#packet)
          ? AVDISCARD_NONREF
          : AVDISCARD_DEFAULT;
      if (skip !== skipping) decoder.setOption('skip_frame', skip, AV_OPT_TYPE_INT);
      skipping = skip;
      const started = performance.now();
      // Decodes, too; what comes after only hands over. A damaged packet fails here; the next key frame mends the picture.
      await decoder.sendPacket(ended ? null : this.#packet);
      decodeMs += performance.now() - started;
      this.#packet.unref();
      while (decoder.receiveFrameSync(this.#frame) >= 0) {
        const stamp = this.#frame.bestEffortTimestamp;
        // FFmpeg has no time for the first picture of an RTSP stream; it can't be placed among the others.
        if (stamp === AV_NOPTS_VALUE) continue;
        const time = timeOf(stamp);
        yield {
          frame: this.#frame,
          time,
          decodeMs,
          ...(offset === undefined ? {} : { wallClock: offset + time * 1000 }),
        };
        decodeMs = 0;
      }
      if (ended) return;
    }
  }

  /** What the video is; complete once a picture has come. */
  get format(): VideoFormat {
    const stream = this.#videoStream();
    if (!stream || !this.#decoder) throw new SourceError('not open');
    return videoFormat(this.#input, stream, this.#decoder);
  }

  /** Plays again from the start (files only). */
  async rewind(): Promise<void> {
    check(await this.#input.seekFrame(-1, 0n, AVSEEK_FLAG_BACKWARD), 'rewind');
    this.#decoder?.flushBuffers();
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#input.closeInput();
    this.#decoder?.freeContext();
    this.#packet.free();
    this.#frame.free();
  }
}

/** Options of FFmpeg's demuxers and protocols; those that a protocol doesn't know it ignores. */
function inputOptions(
  url: string,
  { transport, timeoutSeconds, audio }: SourceOptions,
): Record<string, string> {
  const microseconds = String(Math.round(timeoutSeconds * 1e6));
  if (/^rtsps?:/i.test(url)) {
    return {
      ...(transport === 'auto'
        ? { rtsp_transport: 'tcp+udp', rtsp_flags: 'prefer_tcp' }
        : { rtsp_transport: transport }),
      timeout: microseconds,
      allowed_media_types: audio ? 'video+audio' : 'video',
    };
  }
  if (!/^[a-z]{2,}:/i.test(url) || url.startsWith('file:')) return {};
  return { rw_timeout: microseconds, analyzeduration: String(1e6 * MAX_ANALYZE_SECONDS) };
}

async function openDecoder(stream: Stream): Promise<CodecContext> {
  const codec = Codec.findDecoder(stream.codecpar.codecId);
  if (!codec) throw new SourceError(`no decoder for codec ${stream.codecpar.codecId}`, true);
  const decoder = new CodecContext();
  decoder.allocContext3(codec);
  check(decoder.parametersToContext(stream.codecpar), 'decoder');
  decoder.pktTimebase = stream.timeBase;
  // Threads inside one decoder cost more CPU and delay a picture; there are many cameras to share the cores.
  decoder.threadCount = 1;
  // Grey or smeared pictures, before the first key frame or after a loss, help nobody.
  decoder.clearFlags(AV_CODEC_FLAG_OUTPUT_CORRUPT);
  check(await decoder.open2(codec), 'decoder');
  return decoder;
}

/** Wall clock minus presentation time, milliseconds, from the sender report that FFmpeg attached (AVProducerReferenceTime). */
function wallClockOffset(packet: Packet, seconds: number): number | undefined {
  if (packet.pts === AV_NOPTS_VALUE) return undefined;
  const data = packet.getSideData(AV_PKT_DATA_PRFT);
  if (data === null) return undefined;
  return Number(data.readBigInt64LE(0)) / 1000 - Number(packet.pts) * seconds * 1000;
}

import {
  AV_CODEC_FLAG_OUTPUT_CORRUPT,
  AV_CODEC_ID_H264,
  AV_CODEC_ID_HEVC,
  AV_CODEC_ID_MJPEG,
  AV_FRAME_FLAG_CORRUPT,
  AV_FRAME_FLAG_DISCARD,
  AV_FRAME_FLAG_INTERLACED,
  AV_NOPTS_VALUE,
  AV_OPT_TYPE_INT,
  AV_OPT_TYPE_INT64,
  AV_PKT_FLAG_CORRUPT,
  AV_PKT_FLAG_DISCARD,
  AVDISCARD_DEFAULT,
  AVDISCARD_NONREF,
  type AVDiscard,
  AVERROR_EAGAIN,
  AVERROR_EINVAL,
} from 'node-av/constants';
import { Codec, CodecContext, type Packet, type Stream } from 'node-av/lib';
import { RawFrame } from '../raw-frame.ts';
import { H264References } from './h264-references.ts';
import { H265References } from './h265-references.ts';
import { findHardware } from './hardware.ts';
import { checkDecoder, checkJpeg, checkMemory, MAX_PIXELS, tooLarge } from './limits.ts';
import { type Loss, lossBefore, type PictureState } from './nal-units.ts';
import type { Damage, Hwaccel } from './source.ts';
import { check, SourceError } from './source-error.ts';

const NOTHING = Buffer.alloc(0);

interface DecoderOptions {
  /** Whether the video comes from a network. Then only the codecs of cameras are decoded, within limits. */
  fromNetwork: boolean;
  /** Whether the video has segments. Each restarts its packet counters: FFmpeg marks the packet before as damaged. */
  inSegments: boolean;
  damage: Damage | undefined;
  hwaccel: Hwaccel | undefined;
}

/** FFmpeg's decoder of one video. It returns undamaged pictures only: a wrong picture is worse than none. */
export class VideoDecoder {
  readonly context = new CodecContext();
  /** The decoder: `software`, or the device; with the reason if the wanted device is missing. */
  device = 'software';
  readonly #stream: Stream;
  readonly #damage: Damage | undefined;
  readonly #fromNetwork: boolean;
  /** Only for video from a network, where pictures may be lost. */
  readonly #references: H264References | H265References | undefined;
  readonly #inSegments: boolean;
  #skipping: AVDiscard = AVDISCARD_DEFAULT;
  /** No picture is returned until the next key frame. */
  #isBroken = false;
  /** Why pictures are left out now; undefined while they are returned. */
  #reason: keyof Damage | undefined;
  #gaps = 0;
  /** Whether the next picture is damaged. */
  #isNextDamaged = false;
  /** Whether a key frame is among the damaged pictures that have just been left out; undefined without one. */
  #wasKey: boolean | undefined;
  /** Decoding time of the last undamaged picture, and the shortest interval; in ticks. */
  #dts = AV_NOPTS_VALUE;
  #interval = Number.POSITIVE_INFINITY;
  /** Whether an undamaged picture has been returned. */
  #started = false;
  /** Whether FFmpeg's mark of corrupt pictures is ignored: {@link #references} knows better which are undamaged. */
  #isTolerant = false;
  /** Whether a packet may be one field of a picture: then none is skipped, so that no picture lacks one. */
  #hasFields = false;
  /** Picture in the memory of the device. */
  #onDevice: RawFrame | undefined;
  /** Whether the decoder was drained. It accepts no packet until it is restarted. */
  #isDrained = false;

  private constructor(stream: Stream, { fromNetwork, inSegments, damage }: DecoderOptions) {
    const { codecId } = stream.codecpar;
    this.#stream = stream;
    this.#fromNetwork = fromNetwork;
    this.#inSegments = inSegments;
    this.#damage = damage;
    if (fromNetwork && codecId === AV_CODEC_ID_H264) this.#references = new H264References();
    if (fromNetwork && codecId === AV_CODEC_ID_HEVC) this.#references = new H265References();
  }

  /** @throws SourceError */
  static async open(stream: Stream, options: DecoderOptions): Promise<VideoDecoder> {
    const codec = Codec.findDecoder(stream.codecpar.codecId);
    if (!codec) throw new SourceError(`no decoder for codec ${stream.codecpar.codecId}`, true);
    if (options.fromNetwork) checkDecoder(codec.name);
    const decoder = new VideoDecoder(stream, options);
    decoder.#references?.check(stream.codecpar.extradata ?? NOTHING);
    const { context } = decoder;
    context.allocContext3(codec);
    check(context.parametersToContext(stream.codecpar), 'decoder');
    context.pktTimebase = stream.timeBase;
    // Threads in one decoder cost CPU and delay pictures. The cores are shared by many cameras anyway.
    context.threadCount = 1;
    // No grey or smeared pictures before the first key frame or after a loss.
    context.clearFlags(AV_CODEC_FLAG_OUTPUT_CORRUPT);
    if (options.fromNetwork) context.setOption('max_pixels', BigInt(MAX_PIXELS), AV_OPT_TYPE_INT64);
    if (options.hwaccel) decoder.#useHardware(options.hwaccel, codec);
    check(await context.open2(codec), 'decoder');
    return decoder;
  }

  #useHardware(wanted: Hwaccel, codec: Codec): void {
    const found = findHardware(wanted, codec);
    if (typeof found === 'string') {
      this.device = `software (${found})`;
      return;
    }
    this.device = found.kind;
    this.context.hwDeviceCtx = found.device;
    this.context.setHardwarePixelFormat(found.pixelFormat);
    this.#onDevice = new RawFrame();
    this.#onDevice.alloc();
  }

  /** What the decoder needs for its next picture. */
  get awaited(): string {
    return this.context.codecId === AV_CODEC_ID_MJPEG ? 'a picture that can be decoded' : 'a key frame';
  }

  /**
   * @param gaps how often packets were lost until now, for codecs whose pictures have no mark of it
   * @returns the steps to decode for `packet`, in order: the packet, or null, or both. Null drains the decoder:
   *   undamaged pictures of earlier packets may still wait in it.
   * @throws SourceError when the stream has another codec: an encoder behind UDP, SRT or HLS may be set to another one
   */
  steps(packet: Packet, gaps = 0): (Packet | null)[] {
    if (this.#stream.codecpar.codecId !== this.context.codecId)
      throw new SourceError('its video has another codec now');
    const isDamaged = this.#isNextDamaged;
    // FFmpeg ends a picture where the next one starts, and marks it with what it knows of that one.
    this.#isNextDamaged = !this.#inSegments && packet.hasFlags(AV_PKT_FLAG_CORRUPT);
    if (isDamaged) return this.#leaveOut(packet);
    const verdict = this.#check(packet, gaps);
    if (verdict === 'smeared') this.#smear(packet);
    if (verdict !== 'broken') return [packet];
    this.#break('lost');
    return this.#startsAnew ? [null, packet] : [packet];
  }

  #leaveOut({ isKeyframe }: Packet): [] {
    this.#wasKey = isKeyframe || this.#wasKey === true;
    if (!this.#references) this.#break('corrupt');
    if (this.#started && this.#damage) this.#damage.corrupt += 1;
    return [];
  }

  #check(packet: Packet, gaps: number): PictureState {
    const isGap = gaps !== this.#gaps;
    this.#gaps = gaps;
    // The packet's data is read only if references are followed.
    if (!this.#references) return isGap ? 'broken' : 'whole';
    const picture = packet.data ?? NOTHING;
    const hole = this.#holeBefore(packet);
    return this.#references.check(picture, lossBefore(picture) ?? hole);
  }

  /** The gap that damaged pictures left before `packet`. The time since the last whole picture gives its length. */
  #holeBefore({ dts }: Packet): Loss | undefined {
    const since = dts === AV_NOPTS_VALUE ? Number.NaN : Number(dts - this.#dts);
    this.#dts = dts;
    const isKey = this.#wasKey;
    if (isKey === undefined && since > 0) this.#interval = Math.min(this.#interval, since);
    if (isKey === undefined) return undefined;
    this.#wasKey = undefined;
    const pictures = Math.round(since / this.#interval) - 1;
    return { packets: pictures > 0 ? pictures : Number.POSITIVE_INFINITY, isKey };
  }

  /** The picture is decoded, as the order of later ones needs it, but not returned. H.265 needs a flag for it. */
  #smear(packet: Packet): void {
    packet.setFlags(AV_PKT_FLAG_DISCARD);
    if (this.#started && this.#damage) this.#damage.lost += 1;
    if (this.context.codecId !== AV_CODEC_ID_HEVC) return;
    this.context.setFlags(AV_CODEC_FLAG_OUTPUT_CORRUPT);
    this.#isTolerant = true;
  }

  /**
   * @param packet null drains the decoder
   * @param wanted if false, the picture is left out unless other pictures refer to it
   * @throws SourceError when a limit is exceeded
   */
  async decode(packet: Packet | null, wanted: boolean): Promise<void> {
    const { context } = this;
    const isJpeg = context.codecId === AV_CODEC_ID_MJPEG;
    // No other picture refers to a JPEG.
    if (packet && isJpeg && !wanted) return;
    const skip = wanted || this.#hasFields ? AVDISCARD_DEFAULT : AVDISCARD_NONREF;
    if (skip !== this.#skipping) context.setOption('skip_frame', skip, AV_OPT_TYPE_INT);
    this.#skipping = skip;
    if (this.#fromNetwork && packet?.data && isJpeg) checkJpeg(packet.data);
    if (this.#isDrained) this.#startAnew();
    this.#isDrained = packet === null;
    // This call decodes; receiving only returns the result.
    const code = await context.sendPacket(packet);
    if (!packet) return;
    if (this.#fromNetwork && code === AVERROR_EINVAL && packet.size > 0) throw tooLarge();
    if (this.#fromNetwork) checkMemory(context);
    if (code < 0 && code !== AVERROR_EAGAIN && !packet.hasFlags(AV_PKT_FLAG_DISCARD)) {
      this.#break('undecodable');
      if (this.#startsAnew) this.#startAnew();
    } else if (packet.isKeyframe) this.#reason = undefined;
    this.#count();
  }

  /** @returns whether there was another undamaged picture */
  receive(frame: RawFrame): boolean {
    while (this.#receive(frame)) {
      if (frame.hasFlags(AV_FRAME_FLAG_DISCARD)) continue;
      if (frame.decodeErrorFlags !== 0 || (frame.hasFlags(AV_FRAME_FLAG_CORRUPT) && !this.#isTolerant)) {
        this.#break('undecodable');
        this.#count();
        if (this.#startsAnew) this.#startAnew();
        continue;
      }
      this.#hasFields ||= frame.hasFlags(AV_FRAME_FLAG_INTERLACED);
      if (frame.keyFrame) this.#isBroken = false;
      if (this.#isBroken) continue;
      this.#started = true;
      if (!this.#isDrained) this.#reason = undefined;
      return true;
    }
    return false;
  }

  #receive(frame: RawFrame): boolean {
    const kept = this.#onDevice;
    if (this.context.receiveFrameSync(kept ?? frame) < 0) return false;
    if (!kept) return true;
    frame.unref();
    // The CPU decodes profiles that the device does not support.
    if (kept.isHwFrame()) {
      check(kept.hwframeTransferDataSync(frame), 'device');
      frame.copyProps(kept);
    } else frame.ref(kept);
    return true;
  }

  /** Later pictures refer to a damaged picture. */
  #break(reason: keyof Damage): void {
    if (this.#started) this.#reason ??= reason;
    this.#references?.forget();
    if (!this.#startsAnew) this.#isBroken = true;
  }

  #count(): void {
    if (this.#reason && this.#damage) this.#damage[this.#reason] += 1;
  }

  /**
   * Whether a restarted decoder itself finds the first undamaged picture. For H.264 that includes streams without key
   * frames, in which each picture refreshes a stripe (intra refresh).
   */
  get #startsAnew(): boolean {
    return this.context.codecId === AV_CODEC_ID_H264 || this.context.codecId === AV_CODEC_ID_HEVC;
  }

  #startAnew(): void {
    this.context.flushBuffers();
    this.context.clearFlags(AV_CODEC_FLAG_OUTPUT_CORRUPT);
    this.#isTolerant = false;
    this.#isDrained = false;
  }

  /** Restarts the decoder: the next packets do not refer to earlier ones. */
  restart(): void {
    this.#startAnew();
    this.#isBroken = false;
    this.#reason = undefined;
  }

  close(): void {
    this.context.freeContext();
    this.#onDevice?.free();
  }
}

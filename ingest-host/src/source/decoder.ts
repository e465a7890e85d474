import {
  AV_CODEC_FLAG_OUTPUT_CORRUPT,
  AV_CODEC_ID_H264,
  AV_CODEC_ID_HEVC,
  AV_CODEC_ID_MJPEG,
  AV_FRAME_FLAG_CORRUPT,
  AV_FRAME_FLAG_DISCARD,
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
import { findHardware } from './hardware.ts';
import { checkDecoder, checkJpeg, checkMemory, MAX_PIXELS, tooLarge } from './limits.ts';
import type { Loss, ReferenceCheck, Verdict } from './nal-units.ts';
import { ReferenceSets } from './reference-sets.ts';
import type { Damage, Hwaccel } from './source.ts';
import { check, SourceError } from './source-error.ts';

const NOTHING = Buffer.alloc(0);
const NO_LOSSES = { key: 0, reference: 0 };

/** What is known of packets that did not come. */
export interface Losses {
  /** How often something did not come. */
  readonly gaps?: number;
  /** How often it was such a picture. */
  readonly losses?: Readonly<Record<Loss, number>>;
}

interface DecoderOptions {
  /** It comes from a network: only what cameras send is decoded, within limits. */
  foreign: boolean;
  /** Each begins its packets' counters anew, so that the last packet before is taken for damaged. */
  inSegments: boolean;
  damage: Damage | undefined;
  hwaccel: Hwaccel | undefined;
}

/** FFmpeg's decoder of one video, that gives whole pictures only: a wrong picture is worse than none. */
export class VideoDecoder {
  readonly context = new CodecContext();
  /** What decodes: `software`, or the device; with the reason where one was wanted and is not there. */
  device = 'software';
  readonly #damage: Damage | undefined;
  readonly #foreign: boolean;
  /** Of what may get lost on its way. */
  readonly #references: ReferenceCheck | undefined;
  readonly #inSegments: boolean;
  #skipping: AVDiscard = AVDISCARD_DEFAULT;
  /** Nothing until the next key frame. */
  #isBroken = false;
  /** Why pictures are not given, until one is. */
  #reason: keyof Damage | undefined;
  #gaps = 0;
  #losses: Record<Loss, number> = { key: 0, reference: 0 };
  /** A whole picture has come. */
  #started = false;
  /** Which pictures are whole is known here, better than by FFmpeg. */
  #isTolerant = false;
  /** Where pictures lie that the device keeps. */
  #onDevice: RawFrame | undefined;
  /** It was told of an end, and takes no packet before it starts anew. */
  #isDrained = false;

  private constructor({ foreign, inSegments, damage }: DecoderOptions, codecId: number) {
    this.#foreign = foreign;
    this.#inSegments = inSegments;
    this.#damage = damage;
    if (foreign && codecId === AV_CODEC_ID_H264) this.#references = new H264References();
    if (foreign && codecId === AV_CODEC_ID_HEVC) this.#references = new ReferenceSets();
  }

  /** @throws SourceError */
  static async open(stream: Stream, options: DecoderOptions): Promise<VideoDecoder> {
    const codec = Codec.findDecoder(stream.codecpar.codecId);
    if (!codec) throw new SourceError(`no decoder for codec ${stream.codecpar.codecId}`, true);
    if (options.foreign) checkDecoder(codec.name);
    const decoder = new VideoDecoder(options, stream.codecpar.codecId);
    decoder.#references?.judge(stream.codecpar.extradata ?? NOTHING);
    const { context } = decoder;
    context.allocContext3(codec);
    check(context.parametersToContext(stream.codecpar), 'decoder');
    context.pktTimebase = stream.timeBase;
    // Threads inside one decoder cost more CPU and delay a picture; there are many cameras to share the cores.
    context.threadCount = 1;
    // Grey or smeared pictures, before the first key frame or after a loss, help nobody.
    context.clearFlags(AV_CODEC_FLAG_OUTPUT_CORRUPT);
    if (options.foreign) context.setOption('max_pixels', BigInt(MAX_PIXELS), AV_OPT_TYPE_INT64);
    if (options.hwaccel) decoder.#useHardware(options.hwaccel, codec);
    check(await context.open2(codec), 'decoder');
    return decoder;
  }

  #useHardware(wanted: Hwaccel, codec: Codec): void {
    const found = findHardware(wanted, codec);
    if (typeof found === 'string') {
      this.device = `software, as of ${found}`;
      return;
    }
    this.device = found.kind;
    this.context.hwDeviceCtx = found.device;
    this.context.setHardwarePixelFormat(found.pixelFormat);
    this.#onDevice = new RawFrame();
    this.#onDevice.alloc();
  }

  /** What makes the next picture whole. */
  get awaited(): string {
    return this.context.codecId === AV_CODEC_ID_MJPEG ? 'a picture that can be decoded' : 'a key frame';
  }

  /**
   * What is to be decoded for `packet`, in turn: it, or the end of what came before, whose pictures are whole and still
   * wait for their turn, or both.
   */
  steps(packet: Packet, losses: Losses = {}): (Packet | null)[] {
    const verdict = this.#judge(packet, losses);
    if (!this.#inSegments && packet.hasFlags(AV_PKT_FLAG_CORRUPT)) {
      this.#break('corrupt');
      this.#count();
      return this.#startsAnew && this.#started ? [null] : [];
    }
    if (verdict === 'smeared') this.#smear(packet);
    if (verdict !== 'broken') return [packet];
    this.#break('lost');
    return this.#startsAnew && this.#started ? [null, packet] : [packet];
  }

  #judge({ data }: Packet, { gaps = 0, losses: { key, reference } = NO_LOSSES }: Losses): Verdict {
    const lost =
      key > this.#losses.key ? 'key' : reference > this.#losses.reference ? 'reference' : undefined;
    const isGap = gaps !== this.#gaps;
    this.#losses = { key, reference };
    this.#gaps = gaps;
    if (this.#references) return this.#references.judge(data ?? NOTHING, lost);
    return isGap ? 'broken' : 'whole';
  }

  /** It is decoded, for the order of what follows goes by it, and not given. H.265's decoder has to be told that it may. */
  #smear(packet: Packet): void {
    packet.setFlags(AV_PKT_FLAG_DISCARD);
    if (this.#started && this.#damage) this.#damage.lost += 1;
    if (this.context.codecId !== AV_CODEC_ID_HEVC) return;
    this.context.setFlags(AV_CODEC_FLAG_OUTPUT_CORRUPT);
    this.#isTolerant = true;
  }

  /**
   * @param packet null for the end
   * @param wanted otherwise it is left out, if no other picture builds on it
   * @throws SourceError for what is over our limits
   */
  async decode(packet: Packet | null, wanted: boolean): Promise<void> {
    const { context } = this;
    const isJpeg = context.codecId === AV_CODEC_ID_MJPEG;
    // Nothing builds on it.
    if (packet && isJpeg && !wanted) return;
    const skip = wanted ? AVDISCARD_DEFAULT : AVDISCARD_NONREF;
    if (skip !== this.#skipping) context.setOption('skip_frame', skip, AV_OPT_TYPE_INT);
    this.#skipping = skip;
    if (this.#foreign && packet?.data && isJpeg) checkJpeg(packet.data);
    if (this.#isDrained) this.#startAnew();
    this.#isDrained = packet === null;
    // Decodes, too; receiving only hands over.
    const code = await context.sendPacket(packet);
    if (!packet) return;
    if (this.#foreign && code === AVERROR_EINVAL && packet.size > 0) throw tooLarge();
    if (this.#foreign) checkMemory(context);
    if (code < 0 && code !== AVERROR_EAGAIN && !packet.hasFlags(AV_PKT_FLAG_DISCARD)) {
      this.#break('undecodable');
      if (this.#startsAnew) this.#startAnew();
    } else if (packet.isKeyframe) this.#reason = undefined;
    this.#count();
  }

  /** @returns whether there was another whole picture */
  receive(frame: RawFrame): boolean {
    while (this.#receive(frame)) {
      if (frame.hasFlags(AV_FRAME_FLAG_DISCARD)) continue;
      if (frame.decodeErrorFlags !== 0 || (frame.hasFlags(AV_FRAME_FLAG_CORRUPT) && !this.#isTolerant)) {
        this.#break('undecodable');
        this.#count();
        if (this.#startsAnew) this.#startAnew();
        continue;
      }
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
    // A profile that the device does not know is decoded by the CPU.
    if (kept.isHwFrame()) {
      check(kept.hwframeTransferDataSync(frame), 'device');
      frame.copyProps(kept);
    } else frame.ref(kept);
    return true;
  }

  /** What comes next builds on a picture that is not as it was sent. */
  #break(reason: keyof Damage): void {
    if (this.#started) this.#reason ??= reason;
    this.#references?.forget();
    if (!this.#startsAnew) this.#isBroken = true;
  }

  #count(): void {
    if (this.#reason && this.#damage) this.#damage[this.#reason] += 1;
  }

  /**
   * Whether the decoder, started anew, knows itself from which picture on all is whole: with H.264 also where no key frame
   * comes but a stripe of each picture is refreshed.
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

  /** What comes next has nothing to do with what came before. */
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

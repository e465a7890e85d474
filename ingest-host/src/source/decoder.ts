import {
  AV_CODEC_FLAG_OUTPUT_CORRUPT,
  AV_CODEC_ID_H264,
  AV_CODEC_ID_MJPEG,
  AV_FRAME_FLAG_CORRUPT,
  AV_OPT_TYPE_INT,
  AV_OPT_TYPE_INT64,
  AV_PKT_FLAG_CORRUPT,
  AVDISCARD_DEFAULT,
  AVDISCARD_NONREF,
  type AVDiscard,
  AVERROR_EAGAIN,
  AVERROR_EINVAL,
} from 'node-av/constants';
import { Codec, CodecContext, type Packet, type Stream } from 'node-av/lib';
import type { RawFrame } from '../raw-frame.ts';
import { FrameNumbers } from './frame-numbers.ts';
import { checkDecoder, checkJpeg, checkMemory, MAX_PIXELS, tooLarge } from './limits.ts';
import { check, SourceError } from './source-error.ts';

const NOTHING = Buffer.alloc(0);

/** FFmpeg's decoder of one video, that gives whole pictures only: a wrong picture is worse than none. */
export class VideoDecoder {
  readonly context = new CodecContext();
  /** Pictures not given, as they or what they build on were damaged. */
  damaged = 0;
  readonly #foreign: boolean;
  /** Of what may get lost on its way. */
  readonly #numbers: FrameNumbers | undefined;
  #skipping: AVDiscard = AVDISCARD_DEFAULT;
  /** Nothing until the next key frame. */
  #broken = false;
  /** A whole picture has come. */
  #started = false;
  /** It was told of an end, and takes no packet before it starts anew. */
  #isDrained = false;

  readonly #inSegments: boolean;

  private constructor(foreign: boolean, inSegments: boolean, codecId: number) {
    this.#foreign = foreign;
    this.#inSegments = inSegments;
    if (foreign && codecId === AV_CODEC_ID_H264) this.#numbers = new FrameNumbers();
  }

  /**
   * @param foreign comes from a network: only what cameras send is decoded, within limits
   * @param inSegments each begins its packets' counters anew, so that the last packet before is taken for damaged
   * @throws SourceError
   */
  static async open(stream: Stream, foreign: boolean, inSegments: boolean): Promise<VideoDecoder> {
    const codec = Codec.findDecoder(stream.codecpar.codecId);
    if (!codec) throw new SourceError(`no decoder for codec ${stream.codecpar.codecId}`, true);
    if (foreign) checkDecoder(codec.name);
    const decoder = new VideoDecoder(foreign, inSegments, stream.codecpar.codecId);
    decoder.#numbers?.isGap(stream.codecpar.extradata ?? NOTHING);
    const { context } = decoder;
    context.allocContext3(codec);
    check(context.parametersToContext(stream.codecpar), 'decoder');
    context.pktTimebase = stream.timeBase;
    // Threads inside one decoder cost more CPU and delay a picture; there are many cameras to share the cores.
    context.threadCount = 1;
    // Grey or smeared pictures, before the first key frame or after a loss, help nobody.
    context.clearFlags(AV_CODEC_FLAG_OUTPUT_CORRUPT);
    if (foreign) context.setOption('max_pixels', BigInt(MAX_PIXELS), AV_OPT_TYPE_INT64);
    check(await context.open2(codec), 'decoder');
    return decoder;
  }

  /** What makes the next picture whole. */
  get awaited(): string {
    return this.context.codecId === AV_CODEC_ID_MJPEG ? 'a picture that can be decoded' : 'a key frame';
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
    if (!this.#inSegments && packet?.hasFlags(AV_PKT_FLAG_CORRUPT)) return this.#leaveOut();
    if (this.#numbers?.isGap(packet?.data ?? NOTHING)) this.#breakOff();
    // Decodes, too; receiving only hands over.
    const code = await context.sendPacket(packet);
    if (!packet) return;
    if (this.#foreign && code === AVERROR_EINVAL && packet.size > 0) throw tooLarge();
    if (this.#foreign) checkMemory(context);
    if (code < 0 && code !== AVERROR_EAGAIN) this.#breakOff();
  }

  /** Leaves out a damaged packet. Pictures before it that wait for their turn are whole: they are given first. */
  async #leaveOut(): Promise<void> {
    if (this.#started) this.damaged += 1;
    if (this.context.codecId !== AV_CODEC_ID_H264) this.#broken = true;
    else if (this.#started) {
      await this.context.sendPacket(null);
      this.#isDrained = true;
    }
  }

  #startAnew(): void {
    this.context.flushBuffers();
    this.#isDrained = false;
  }

  /** @returns whether there was another whole picture */
  receive(frame: RawFrame): boolean {
    while (this.context.receiveFrameSync(frame) >= 0) {
      if (!this.#isDamaged(frame)) return true;
      if (this.#started) this.damaged += 1;
    }
    return false;
  }

  #isDamaged(frame: RawFrame): boolean {
    if (frame.decodeErrorFlags !== 0 || frame.hasFlags(AV_FRAME_FLAG_CORRUPT)) {
      this.#breakOff();
      return true;
    }
    if (frame.keyFrame) this.#broken = false;
    this.#started ||= !this.#broken;
    return this.#broken;
  }

  /** What comes next builds on a picture that is not as it was sent. */
  #breakOff(): void {
    // H.264's decoder knows itself from which picture on all is whole, also where no key frame comes but a stripe of
    // each picture is refreshed; so it starts anew.
    if (this.context.codecId !== AV_CODEC_ID_H264) this.#broken = true;
    else if (this.#started) this.#startAnew();
  }

  /** What comes next has nothing to do with what came before. */
  restart(): void {
    this.#startAnew();
    this.#broken = false;
  }

  close(): void {
    this.context.freeContext();
  }
}

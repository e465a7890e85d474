import {
  AV_CODEC_FLAG_QSCALE,
  AV_CODEC_ID_MJPEG,
  AV_PIX_FMT_YUVJ420P,
  AVCOL_RANGE_JPEG,
  AVCOL_SPC_BT470BG,
  AVCOL_SPC_BT709,
  AVCOL_SPC_SMPTE170M,
  AVCOL_SPC_UNSPECIFIED,
  FF_QP2LAMBDA,
} from 'node-av/constants';
import { Codec, CodecContext, FFmpegError, Frame, Packet, Rational, SoftwareScaleContext } from 'node-av/lib';
import { JpegBudget, scaledSize } from './jpeg-budget.ts';

export interface Jpeg {
  jpeg: Buffer;
  /** Pixels. */
  width: number;
  /** Pixels. */
  height: number;
}

/** A picture that could not be made into a JPEG within the budget. */
export class JpegError extends Error {
  override readonly name = 'JpegError';
}

/** Rows from which an untagged video is taken for HD, whose colours are BT.709 (ITU-R BT.709 against BT.601). */
const HD_ROWS = 720;

/**
 * Makes JPEGs of decoded pictures with FFmpeg's encoder, straight from YUV: baseline, 4:2:0, full range, BT.601
 * matrix as JFIF says (ITU-T T.871, section 6), within a byte budget. One instance a stream.
 */
export class JpegEncoder {
  readonly #budget: JpegBudget;
  readonly #packet = new Packet();
  readonly #canvas = new Frame();
  readonly #scaler = new SoftwareScaleContext();
  #encoder: CodecContext | undefined;
  #pts = 0n;

  /**
   * @param maxBytes largest JPEG
   * @param quality 1..100, as libjpeg counts it, to begin with
   */
  constructor(maxBytes: number, quality: number) {
    this.#budget = new JpegBudget(maxBytes, quality);
    this.#packet.alloc();
    this.#canvas.alloc();
    this.#scaler.allocContext();
  }

  /** @throws JpegError */
  async encode(picture: Frame): Promise<Jpeg> {
    for (;;) {
      const { quantizer, scale } = this.#budget.setting;
      const { width, height } = scaledSize(picture.width, picture.height, scale);
      const jpeg = await this.#encodeAt(await this.#convert(picture, width, height), quantizer);
      const verdict = this.#budget.judge(jpeg.length);
      if (verdict === 'fits') return { jpeg, width, height };
      if (verdict === 'impossible') throw new JpegError(`${width}x${height} takes ${jpeg.length} bytes`);
    }
  }

  /** The picture in the form that JPEG wants; itself when it has it already. */
  async #convert(picture: Frame, width: number, height: number): Promise<Frame> {
    const isHd = picture.colorSpace === AVCOL_SPC_UNSPECIFIED && picture.height >= HD_ROWS;
    const space = isHd ? AVCOL_SPC_BT709 : picture.colorSpace;
    const is601 =
      space === AVCOL_SPC_UNSPECIFIED || space === AVCOL_SPC_BT470BG || space === AVCOL_SPC_SMPTE170M;
    if (picture.format === AV_PIX_FMT_YUVJ420P && picture.width === width && is601) return picture;
    const canvas = this.#canvas;
    if (canvas.width !== width || canvas.height !== height) {
      canvas.unref();
      canvas.format = AV_PIX_FMT_YUVJ420P;
      canvas.width = width;
      canvas.height = height;
      check(canvas.getBuffer(), 'allocate');
    }
    picture.colorSpace = is601 ? AVCOL_SPC_BT470BG : space;
    canvas.colorSpace = AVCOL_SPC_BT470BG;
    canvas.colorRange = AVCOL_RANGE_JPEG;
    // Only range and matrix change: mapping primaries would cost far more and change nothing a detector sees.
    canvas.colorPrimaries = picture.colorPrimaries;
    canvas.colorTrc = picture.colorTrc;
    check(await this.#scaler.scaleFrame(canvas, picture), 'convert');
    return canvas;
  }

  async #encodeAt(picture: Frame, quantizer: number): Promise<Buffer> {
    const encoder = this.#encoderFor(picture.width, picture.height);
    picture.quality = quantizer * FF_QP2LAMBDA;
    picture.pts = this.#pts++;
    check(await encoder.sendFrame(picture), 'encode');
    check(encoder.receivePacketSync(this.#packet), 'encode');
    const jpeg = Buffer.from(this.#packet.data ?? []);
    this.#packet.unref();
    return jpeg;
  }

  #encoderFor(width: number, height: number): CodecContext {
    if (this.#encoder?.width === width && this.#encoder.height === height) return this.#encoder;
    this.#encoder?.freeContext();
    const codec = Codec.findEncoder(AV_CODEC_ID_MJPEG);
    if (!codec) throw new JpegError('this build of FFmpeg has no JPEG encoder');
    const encoder = new CodecContext();
    encoder.allocContext3(codec);
    encoder.width = width;
    encoder.height = height;
    encoder.pixelFormat = AV_PIX_FMT_YUVJ420P;
    encoder.colorRange = AVCOL_RANGE_JPEG;
    encoder.timeBase = new Rational(1, 1000);
    encoder.threadCount = 1;
    encoder.qMin = 1;
    encoder.setFlags(AV_CODEC_FLAG_QSCALE);
    check(encoder.open2Sync(codec), 'open encoder');
    this.#encoder = encoder;
    return encoder;
  }

  close(): void {
    this.#encoder?.freeContext();
    this.#scaler.freeContext();
    this.#canvas.free();
    this.#packet.free();
  }
}

function check(code: number, step: string): void {
  if (code < 0) throw new JpegError(`${step}: ${FFmpegError.strerror(code)}`);
}

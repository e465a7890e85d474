import {
  AV_CODEC_FLAG_QSCALE,
  AV_CODEC_ID_MJPEG,
  AV_PIX_FMT_YUV420P,
  AVCOL_RANGE_JPEG,
  FF_QP2LAMBDA,
} from 'node-av/constants';
import { Codec, CodecContext, Packet, Rational } from 'node-av/lib';
import { JpegBudget, scaledSize } from './jpeg-budget.ts';
import { type Crop, check, JpegError, PictureFilter } from './picture-filter.ts';
import { type View, type ViewOptions, viewOf } from './picture-view.ts';
import { maskPainter, type Polygon } from './privacy-mask.ts';
import type { RawFrame } from './raw-frame.ts';

export interface Jpeg {
  jpeg: Buffer;
  /** Width and height, pixels. */
  width: number;
  height: number;
}

/** Which part of a picture becomes the JPEG, and how. */
export interface JpegShape extends ViewOptions {
  /** Region of interest, `[x1, y1, x2, y2]` as shares of the picture's sides, 0..1; default: the whole picture. */
  region?: readonly [number, number, number, number] | undefined;
  /** A wider picture or region is scaled down to this width, pixels; its sides keep their ratio. */
  maxWidth?: number;
  /** Privacy masks: polygons that are painted over. Corners are shares of the region's sides, like those of zones. */
  masks?: readonly Polygon[] | undefined;
}

/** Encodes decoded pictures as JPEGs with FFmpeg's encoder, from YUV, within a byte budget. One for each stream. */
export class JpegEncoder {
  readonly #budget: JpegBudget;
  readonly #filter = new PictureFilter();
  readonly #packet = new Packet();
  readonly #shape: JpegShape;
  readonly #paintMasks: ReturnType<typeof maskPainter> | undefined;
  #encoder: CodecContext | undefined;
  #pts = 0n;

  /**
   * @param maxBytes largest JPEG
   * @param quality initial quality on libjpeg's scale, 1..100
   */
  constructor(maxBytes: number, quality: number, shape: JpegShape = {}) {
    this.#budget = new JpegBudget(maxBytes, quality);
    this.#shape = shape;
    if (shape.masks?.length) this.#paintMasks = maskPainter(shape.masks);
    this.#packet.alloc();
  }

  /** @throws JpegError */
  async encode(picture: RawFrame): Promise<Jpeg> {
    const view = viewOf(picture, this.#shape);
    const crop = cropOf(view, this.#shape.region);
    const shownWidth = crop.width * view.aspect;
    const limit = Math.min(1, (this.#shape.maxWidth ?? shownWidth) / shownWidth);
    let converted: RawFrame | undefined;
    for (;;) {
      const { quantizer, scale } = this.#budget.setting;
      const { width, height } = scaledSize(shownWidth, crop.height, scale * limit);
      if (converted?.width !== width || converted.height !== height) {
        converted = await this.#filter.apply(picture, width, height, view, crop);
        // Copied before painting: without a conversion the decoder still uses the same pixels.
        if (this.#paintMasks) check(converted.makeWritable(), 'mask');
        this.#paintMasks?.(converted);
      }
      const jpeg = await this.#encodeAt(converted, quantizer);
      const verdict = this.#budget.check(jpeg.length);
      if (verdict === 'fits') return { jpeg, width, height };
      if (verdict === 'impossible') throw new JpegError(`${width}x${height} takes ${jpeg.length} bytes`);
    }
  }

  async #encodeAt(picture: RawFrame, quantizer: number): Promise<Buffer> {
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
    encoder.pixelFormat = AV_PIX_FMT_YUV420P;
    encoder.colorRange = AVCOL_RANGE_JPEG;
    encoder.timeBase = new Rational(1, 1000);
    encoder.threadCount = 1;
    encoder.qMin = 1;
    encoder.setFlags(AV_CODEC_FLAG_QSCALE);
    // Options are set by setters: node-av 6.1.1 frees twice a Dictionary that is passed to open2.
    check(encoder.open2Sync(codec), 'open encoder');
    this.#encoder = encoder;
    return encoder;
  }

  [Symbol.dispose](): void {
    this.#encoder?.freeContext();
    this.#filter.close();
    this.#packet.free();
  }
}

/** The region in pixels: even, at least 2, within the picture. A picture with odd sides loses a row or a column. */
function cropOf({ width, height }: View, region: JpegShape['region'] = WHOLE): Crop {
  const even = (part: number, side: number) => 2 * Math.round((part * side) / 2);
  const [x1, y1, x2, y2] = region;
  const x = Math.min(even(x1, width), width - 2);
  const y = Math.min(even(y1, height), height - 2);
  return {
    x,
    y,
    width: Math.max(2, Math.min(even(x2, width), 2 * Math.floor(width / 2)) - x),
    height: Math.max(2, Math.min(even(y2, height), 2 * Math.floor(height / 2)) - y),
  };
}

const WHOLE = [0, 0, 1, 1] as const;
